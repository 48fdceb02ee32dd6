import {
  condition,
  defineQuery,
  defineUpdate,
  proxyActivities,
  setHandler,
  upsertSearchAttributes,
} from '@temporalio/workflow';
import type { CycleReport, KeeperActivities } from '../../activities/keep-optimizers.js';
import { type CarriedKeeper, groupSettingsInput, resourceIdInput } from '../../src/rules/keeper-input.js';
import {
  afterRestartNow,
  type GroupSettings,
  type KeeperState,
  NEW_KEEPER,
} from '../../src/rules/keeping.js';
import { DURABLE_STEP } from '../activity-options.js';
import { guarded } from '../failures.js';
import { stewardPhase } from '../search-attributes.js';

const { setGroupSettings, launchOfOrphan, forgetResource } = proxyActivities<KeeperActivities>(DURABLE_STEP);

/** What the keeper knows, for `optimizer-group show`. */
export interface KeeperView {
  readonly state: KeeperState;
  readonly paused?: string;
  /** Of the last cycle; missing before the first one. */
  readonly report?: CycleReport;
}

/** Updates set absolute values, so that repeating one is safe. Answers are warnings for the operator. */
export const scale = defineUpdate<string[], [Partial<GroupSettings>]>('scale');
export const pause = defineUpdate<void, [string]>('pause');
export const resume = defineUpdate<void, []>('resume');
export const restartNow = defineUpdate<void, [string]>('restartNow');
export const reset = defineUpdate<void, []>('reset');
export const forget = defineUpdate<void, [{ readonly resourceId: string; readonly actor: string }]>(
  'forgetResource',
);
export const keeperState = defineQuery<KeeperView>('state');

/** The state of a keeper, and the handlers that change it between cycles. */
export class Keeper {
  #state: KeeperState;
  #paused: string | undefined;
  #report: CycleReport | undefined;
  /** A cycle or an Update has the state; one at a time, so that none overwrites what another one did. */
  #busy = false;
  #woken = false;

  constructor(
    private readonly group: string,
    carried: CarriedKeeper | undefined,
  ) {
    this.#state = carried?.state ?? NEW_KEEPER;
    this.#paused = carried?.paused;
    this.#handle();
  }

  get paused(): string | undefined {
    return this.#paused;
  }

  carried(): CarriedKeeper {
    return { state: this.#state, ...(this.#paused === undefined ? {} : { paused: this.#paused }) };
  }

  /** Runs a cycle on the state, unless it is paused. */
  async cycle(run: (state: KeeperState) => Promise<CycleReport>): Promise<void> {
    await this.#exclusively(async () => {
      if (this.#paused !== undefined) return;
      this.#report = await run(this.#state);
      this.#state = this.#report.state;
    });
  }

  /** Waits for the interval, or for an Update. */
  async interval(ms: number): Promise<void> {
    await condition(() => this.#woken, ms);
    this.#woken = false;
  }

  #handle(): void {
    setHandler(
      scale,
      (changed) =>
        this.#change(async () => {
          const settings = guarded(groupSettingsInput, changed);
          const warnings = await setGroupSettings(this.group, settings);
          const { loweredAt: _, ...rest } = this.#state;
          this.#state = { ...rest, keepingAttempts: 0 };
          return warnings;
        }),
      { validator: (changed) => void guarded(groupSettingsInput, changed) },
    );
    setHandler(pause, (reason) =>
      this.#change(async () => {
        this.#paused = reason;
        upsertSearchAttributes([{ key: stewardPhase, value: 'PAUSED' }]);
      }),
    );
    setHandler(resume, () =>
      this.#change(async () => {
        this.#paused = undefined;
        upsertSearchAttributes([{ key: stewardPhase, value: 'KEEPING' }]);
      }),
    );
    setHandler(
      restartNow,
      (resourceId) =>
        this.#change(async () => {
          const launch = await launchOfOrphan(this.group, resourceId);
          this.#state = afterRestartNow(this.#state, resourceId, launch, Date.now());
        }),
      { validator: (resourceId) => void guarded(resourceIdInput, resourceId) },
    );
    setHandler(reset, () =>
      this.#change(async () => {
        this.#state = { ...NEW_KEEPER, cycle: this.#state.cycle };
      }),
    );
    setHandler(
      forget,
      ({ resourceId, actor }) =>
        this.#change(async () => {
          await forgetResource(this.group, resourceId, actor);
          const { [resourceId]: _, ...orphans } = this.#state.orphans;
          this.#state = { ...this.#state, orphans };
        }),
      { validator: ({ resourceId }) => void guarded(resourceIdInput, resourceId) },
    );
    setHandler(keeperState, () => ({
      ...this.carried(),
      ...(this.#report === undefined ? {} : { report: this.#report }),
    }));
  }

  async #change<T>(change: () => Promise<T>): Promise<T> {
    return this.#exclusively(async () => {
      const answer = await change();
      this.#woken = true;
      return answer;
    });
  }

  async #exclusively<T>(work: () => Promise<T>): Promise<T> {
    // Of several that wait, one goes on; the others find it busy again.
    while (this.#busy) await condition(() => !this.#busy);
    this.#busy = true;
    try {
      return await work();
    } finally {
      this.#busy = false;
    }
  }
}
