import { superviseAsProcess } from '../../dist/src/local/supervisor-process.js';
import { plan } from './stand-in-plan.mjs';

await superviseAsProcess(plan);
