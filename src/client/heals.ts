import { randomUUID } from 'node:crypto';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import type { HealResult } from '../../workflows/optimizing/heal-stuck-commits.js';
import type { RepairMode } from '../rules/input.js';
import { healStuckCommitsInput } from '../rules/optimizing-input.js';
import type { BreakerState, Graces } from '../rules/stuck.js';
import { HEALED } from '../rules/words.js';
import type { Coordinator } from './coordinator.js';
import type { OperationHandle } from './operation-handle.js';
import type { Operations } from './operations.js';
import type { Temporal } from './temporal.js';
import { valid } from './validation.js';

/** What keeps heals from acting. */
export interface HealBreaker {
  /** OPEN: nothing is healed until somebody acknowledges it. ACKNOWLEDGED: heals act, and it is CLOSED once less is stuck. */
  readonly state: BreakerState;
  /** Why it opened last. */
  readonly reason?: string;
  readonly since?: string;
  readonly acknowledgedBy?: string;
}

export interface HealStatus {
  readonly breaker: HealBreaker;
  /** The last cycle that ended, by whomever it was started; absent before the first one. */
  readonly last?: EndedHeal;
  /** The last one that healed something; absent when Temporal keeps none. */
  readonly lastHealed?: EndedHeal;
}

export interface EndedHeal {
  readonly operationId: string;
  /** Who started it: the schedule, as `schedule`, or somebody. */
  readonly actor?: string;
  readonly endedAt: string;
  readonly result: HealResult;
}

export interface HealOptions {
  /** `repair` by default; `observe` reports and changes nothing. */
  readonly mode?: RepairMode | undefined;
  /** Only this table. */
  readonly table?: string | undefined;
  /** How long something has to be so until it counts as stuck; what is absent has its default. */
  readonly graces?: Partial<Graces> | undefined;
}

/** `client.heals`: processes that are stuck before their commit. */
export class Heals {
  constructor(
    private readonly coordinator: Coordinator,
    private readonly temporal: () => Promise<Temporal>,
    private readonly operations: Operations,
    private readonly actor: string,
  ) {}

  /**
   * Starts one cycle at once, beside those that the schedule starts.
   *
   * @throws StewardError INVALID_INPUT, UNAVAILABLE
   */
  async run({ mode, table, graces }: HealOptions = {}): Promise<OperationHandle<HealResult>> {
    const input = valid(() =>
      healStuckCommitsInput({
        ...(mode !== undefined && { mode }),
        ...(table !== undefined && { table }),
        ...(graces !== undefined && { graces }),
        actor: this.actor,
      }),
    );
    const what = input.table === undefined ? 'stuck commits' : `stuck commits of table ${input.table}`;
    const temporal = await this.temporal();
    const workflowId = `heal-stuck-commits/${randomUUID().slice(0, 8)}`;
    const { runId, attached } = await temporal.start({
      workflowType: 'healStuckCommits',
      workflowId,
      input,
      summary: `${input.mode === 'repair' ? 'heal' : 'look for'} ${what}`,
      details: `One cycle over ${what} (${input.mode}). Asked by ${this.actor}.`,
      resource: input.table === undefined ? 'tables' : `table/${input.table}`,
    });
    return this.operations.handleOf(temporal, workflowId, runId, attached);
  }

  /** The breaker, and how the last cycle ended, and the last one that had something to heal. */
  async status(): Promise<HealStatus> {
    const [breaker, last, lastHealed] = await Promise.all([
      this.breaker(),
      this.#last("ExecutionStatus = 'Completed'"),
      this.#last(`ExecutionStatus = 'Completed' AND StewardPhase = '${HEALED}'`),
    ]);
    return { breaker, ...(last && { last }), ...(lastHealed && { lastHealed }) };
  }

  async breaker(): Promise<HealBreaker> {
    const { state, reason, since, acknowledgedBy } = await this.coordinator.askHeals((heals) =>
      heals.getBreaker({}),
    );
    return {
      state: state as BreakerState,
      ...(reason !== '' && { reason }),
      ...(since && { since: timestampDate(since).toISOString() }),
      ...(acknowledgedBy !== '' && { acknowledgedBy }),
    };
  }

  /**
   * Lets heals go on after the breaker opened.
   *
   * @throws StewardError REJECTED when it is not open; UNAVAILABLE
   */
  async acknowledge(): Promise<HealBreaker> {
    await this.coordinator.askHeals((heals) => heals.acknowledgeBreaker({ actor: this.actor }));
    return this.breaker();
  }

  async #last(which: string): Promise<EndedHeal | undefined> {
    const temporal = await this.temporal();
    const { operationFrom } = await import('./operation-description.js');
    return temporal.ask(async (client) => {
      const query = `WorkflowType = 'healStuckCommits' AND ${which}`;
      for await (const ended of client.workflow.list({ query, pageSize: 1 })) {
        const { operationId, runId, actor, closedAt = new Date().toISOString() } = operationFrom(ended);
        const result: HealResult = await client.workflow.getHandle(operationId, runId).result();
        return { operationId, ...(actor !== undefined && { actor }), endedAt: closedAt, result };
      }
      return undefined;
    });
  }
}
