import { stewardPlan } from './steward-plan.js';
import { superviseAsProcess } from './supervisor-process.js';

await superviseAsProcess(stewardPlan());
