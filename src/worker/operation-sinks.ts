import type { InjectedSinks } from '@temporalio/worker';
import type { OperationSinks } from '../../workflows/interceptors.js';
import { countEnded, countStarted } from '../metrics/operations.js';
import type { tellRun } from './run-spans.js';

/** Counts what the workflow code tells of its operations, and tells it as spans when this process is traced. */
export function operationSinks(tell: typeof tellRun | undefined): InjectedSinks<OperationSinks> {
  return {
    operations: {
      started: { fn: ({ workflowType }) => countStarted(workflowType) },
      ended: {
        fn: (info, end) => {
          countEnded(info.workflowType, end.outcome, Date.now() - info.startTime.getTime());
          tell?.(info, end);
        },
      },
      continued: { fn: (info, caller) => tell?.(info, { outcome: 'continued', caller }) },
    },
  };
}
