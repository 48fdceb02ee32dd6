import { appendFileSync } from 'node:fs';

/** Containers for tests of the keeper. Every call is a line of the file that STEWARD_TEST_CALLS names. */
function called(container, call, { resourceId, epoch, attempt }) {
  appendFileSync(
    process.env.STEWARD_TEST_CALLS,
    `${JSON.stringify({ container, call, resourceId, launch: epoch, attempt })}\n`,
  );
}

function container(name, { supportsAutoRestart, request }) {
  return {
    supportsAutoRestart,
    startsOptimizers: true,
    onNodes: false,
    async request(launch) {
      called(name, 'request', launch);
      return request(launch);
    },
    async release(place) {
      called(name, 'release', place);
      return { state: 'RELEASED' };
    },
  };
}

const started = ({ resourceId, epoch, threads, memoryMb }) => ({
  state: 'STARTED',
  processId: `${resourceId}#${epoch}`,
  threads,
  memoryMb,
  properties: { launch: String(epoch) },
});

export const containers = {
  /** Says that it starts optimizers, and starts none: the test registers them, or nobody does. */
  hollow: container('hollow', { supportsAutoRestart: true, request: started }),
  /** The same, of optimizers that something else keeps alive. */
  cluster: container('cluster', { supportsAutoRestart: false, request: started }),
  /** Starts nothing, and says so. */
  refusing: container('refusing', {
    supportsAutoRestart: true,
    request: () => ({ state: 'FAILED', reason: 'no room' }),
  }),
};
