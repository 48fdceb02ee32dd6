import type { Scenario } from './scenario.js';
import { cli } from './scenarios/cli.js';
import { conformance } from './scenarios/conformance.js';
import { jobs } from './scenarios/jobs.js';
import { metrics } from './scenarios/metrics.js';
import { operate } from './scenarios/operate.js';
import { optimizers } from './scenarios/optimizers.js';
import { optimizing } from './scenarios/optimizing.js';
import { production } from './scenarios/production.js';
import { readme } from './scenarios/readme.js';
import { regions } from './scenarios/regions.js';
import { traces } from './scenarios/traces.js';
import { webUi } from './scenarios/web-ui.js';
import { workerContract } from './scenarios/worker-contract.js';

/** In this order, on one stack: the first page starts it, the last one stops it. */
export const SCENARIOS: readonly Scenario[] = [
  readme,
  operate,
  regions,
  optimizing,
  optimizers,
  jobs,
  metrics,
  webUi,
  cli,
  { page: 'docs/security.md' },
  traces,
  production,
  conformance,
  { page: 'docs/decisions.md' },
  { page: 'docs/design.md' },
  workerContract,
];
