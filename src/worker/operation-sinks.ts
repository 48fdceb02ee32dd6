import type { InjectedSinks } from '@temporalio/worker';
import type { OperationOutcome, OperationSinks } from '../../workflows/interceptors.js';
import { countEnded, countStarted } from '../metrics/operations.js';

/** Counts what the workflow code tells of its operations. */
export const operationSinks: InjectedSinks<OperationSinks> = {
  operations: {
    started: { fn: ({ workflowType }) => countStarted(workflowType) },
    ended: {
      fn: ({ workflowType, startTime }, outcome: OperationOutcome) =>
        countEnded(workflowType, outcome, Date.now() - startTime.getTime()),
    },
  },
};
