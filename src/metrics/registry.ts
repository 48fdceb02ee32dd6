import { Registry } from 'prom-client';

/** Everything that a process of Steward counts; what the endpoint of `server.ts` shows. */
export const registry = new Registry();
