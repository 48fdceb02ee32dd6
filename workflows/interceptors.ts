import { defaultPayloadConverter, type Headers, TemporalFailure } from '@temporalio/common';
import {
  ContinueAsNew,
  isCancellation,
  proxySinks,
  type Sinks,
  type WorkflowInterceptors,
  workflowInfo,
} from '@temporalio/workflow';
import { ACTOR_HEADER } from './actor-header.js';
import { callerIn, headerOfRun } from './trace-header.js';

/** What the worker is told of its operations. Told again when a workflow task is repeated, and not when it is replayed. */
export interface OperationSinks extends Sinks {
  operations: {
    started(): void;
    ended(end: OperationEnd): void;
    /** The run ended, and the next one goes on. */
    continued(caller: string | undefined): void;
  };
}

export interface OperationEnd {
  readonly outcome: OperationOutcome;
  /** Why it failed. */
  readonly failure?: string;
  /** The traceparent of whoever started it. */
  readonly caller: string | undefined;
}

export type OperationOutcome = 'done' | 'failed' | 'canceled' | 'superseded';

/** It goes on for ever: each of its runs begins a trace of its own. */
const ENDLESS = 'keepOptimizerGroup';

/**
 * Around every workflow: its start and end are told, and its activities learn who wanted it and in which trace. They make
 * no command, wait for nothing and draw no random number, so a history is the same with them and without.
 */
export function interceptors(): WorkflowInterceptors {
  const { operations } = proxySinks<OperationSinks>();
  let actorHeader: Headers = {};
  let runHeader: Headers = {};
  return {
    inbound: [
      {
        async execute(input, next) {
          const actor = actorOf(input.args[0]);
          if (actor !== undefined) actorHeader = { [ACTOR_HEADER]: defaultPayloadConverter.toPayload(actor) };
          const { runId, continuedFromExecutionRunId } = workflowInfo();
          const caller = callerIn(input.headers);
          runHeader = headerOfRun(runId, caller);
          if (continuedFromExecutionRunId === undefined) operations.started();
          try {
            const result = await next(input);
            operations.ended({ outcome: outcomeOf(result), caller });
            return result;
          } catch (error) {
            // Anything else fails only the workflow task, which is tried again.
            if (error instanceof ContinueAsNew) operations.continued(caller);
            else if (error instanceof TemporalFailure) {
              const end = isCancellation(error)
                ? { outcome: 'canceled' as const }
                : { outcome: 'failed' as const, failure: error.message };
              operations.ended({ ...end, caller });
            }
            throw error;
          }
        },
      },
    ],
    outbound: [
      {
        scheduleActivity: (input, next) =>
          next({ ...input, headers: { ...input.headers, ...actorHeader, ...runHeader } }),
        scheduleLocalActivity: (input, next) =>
          next({ ...input, headers: { ...input.headers, ...actorHeader, ...runHeader } }),
        startChildWorkflowExecution: (input, next) =>
          next({ ...input, headers: { ...input.headers, ...runHeader } }),
        continueAsNew: (input, next) =>
          next(
            workflowInfo().workflowType === ENDLESS
              ? input
              : { ...input, headers: { ...input.headers, ...runHeader } },
          ),
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
