import { defaultPayloadConverter, TemporalFailure } from '@temporalio/common';
import {
  isCancellation,
  proxySinks,
  type Sinks,
  type WorkflowInterceptors,
  workflowInfo,
} from '@temporalio/workflow';
import { ACTOR_HEADER } from './actor-header.js';

/** What the worker is told of its operations. Told again when a workflow task is repeated, and not when it is replayed. */
export interface OperationSinks extends Sinks {
  operations: {
    started(): void;
    ended(outcome: OperationOutcome): void;
  };
}

export type OperationOutcome = 'done' | 'failed' | 'canceled' | 'superseded';

/** Around every workflow: its start and end are told, and its activities learn who wanted it. They make no command. */
export function interceptors(): WorkflowInterceptors {
  const { operations } = proxySinks<OperationSinks>();
  let actorHeader = {};
  return {
    inbound: [
      {
        async execute(input, next) {
          const actor = actorOf(input.args[0]);
          if (actor !== undefined) actorHeader = { [ACTOR_HEADER]: defaultPayloadConverter.toPayload(actor) };
          if (workflowInfo().continuedFromExecutionRunId === undefined) operations.started();
          try {
            const result = await next(input);
            operations.ended(outcomeOf(result));
            return result;
          } catch (error) {
            // Anything else fails only the workflow task, which is tried again.
            if (error instanceof TemporalFailure)
              operations.ended(isCancellation(error) ? 'canceled' : 'failed');
            throw error;
          }
        },
      },
    ],
    outbound: [
      {
        scheduleActivity: (input, next) => next({ ...input, headers: { ...input.headers, ...actorHeader } }),
        scheduleLocalActivity: (input, next) =>
          next({ ...input, headers: { ...input.headers, ...actorHeader } }),
      },
    ],
  };
}

function outcomeOf(result: unknown): OperationOutcome {
  const outcome = (result as { readonly outcome?: unknown } | null | undefined)?.outcome;
  if (outcome === 'CANCELED') return 'canceled';
  return outcome === 'SUPERSEDED' ? 'superseded' : 'done';
}

function actorOf(input: unknown): string | undefined {
  const actor = (input as { readonly actor?: unknown } | null | undefined)?.actor;
  return typeof actor === 'string' ? actor : undefined;
}
