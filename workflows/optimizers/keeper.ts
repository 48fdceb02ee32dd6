import {
  condition,
  defineQuery,
  defineUpdate,
  proxyActivities,
  setHandler,
  upsertSearchAttributes,
} from '@temporalio/workflow';
import type { CycleReport } from '../../activities/optimizers/keep-group.js';
import type { KeeperUpdateActivities } from '../../activities/optimizers/keeper-updates.js';
import {
  type CarriedKeeper,
  type ForgetInput,
  forgetInput,
  groupSettingsInput,
  type RestartNowInput,
  reasonInput,
  restartNowInput,
} from '../../src/rules/keeper-input.js';
import {
  afterRestartNow,
  type GroupSettings,
  type KeeperState,
  NEW_KEEPER,
} from '../../src/rules/keeping.js';
import { DURABLE_STEP } from '../activity-options.js';
import { guarded } from '../failures.js';
import { stewardPhase } from '../search-attributes.js';

const { setGroupSettings, launchOfOrphan, forgetResource } =
  proxyActivities<KeeperUpdateActivities>(DURABLE_STEP);

/** What a cycle left behind, besides the state. */
export type LastCycle = Omit<CycleReport, 'state'>;

/** What the keeper knows, for `optimizer-group show`. */
export interface KeeperView {
  readonly state: KeeperState;
  readonly paused?: string;
  /** Of the last cycle; missing before the first one. */
  readonly report?: LastCycle;
}

/** Updates set absolute values, so that repeating one is safe. Answers are warnings for the operator. */
export const scale = defineUpdate<string[], [Partial<GroupSettings>]>('scale');
export const pause = defineUpdate<void, [string]>('pause');
export const resume = defineUpdate<void, []>('resume');
export const restartNow = defineUpdate<void, [RestartNowInput]>('restartNow');
export const reset = defineUpdate<void, []>('reset');
export const forget = defineUpdate<void, [ForgetInput]>('forgetResource');
export const keeperState = defineQuery<KeeperView>('state');

/** The state of a keeper, and the handlers that change it between cycles. */
export class Keeper {
  #state: KeeperState;
  #paused: string | undefined;
  #report: LastCycle | undefined;
  /** A cycle or an Update has the state; one at a time, so that none overwrites what another one did. */
  #busy = false;
  #woken = false;

  constructor(
    private readonly group: string,
    carried: CarriedKeeper | undefined,
  ) {
    this.#state = carried?.state ?? NEW_KEEPER;
    this.#paused = carried?.paused;
    this.#report = carried?.report as LastCycle | undefined;
    this.#handle();
  }

  get paused(): string | undefined {
    return this.#paused;
  }

  get view(): KeeperView {
    return {
      state: this.#state,
      ...(this.#paused === undefined ? {} : { paused: this.#paused }),
      ...(this.#report === undefined ? {} : { report: this.#report }),
    };
  }

  /** For the run that goes on from here. */
  carried(): CarriedKeeper {
    return this.view;
  }

  /** Runs a cycle on the state, unless it is paused. */
  async cycle(run: (state: KeeperState) => Promise<CycleReport>): Promise<void> {
    await this.#exclusively(async () => {
      if (this.#paused !== undefined) return;
      const { state, ...report } = await run(this.#state);
      this.#state = state;
      this.#report = report;
    });
  }

  /** Waits for the interval, or for an Update; for an Update alone while it is paused. */
  async interval(ms: number): Promise<void> {
    const woken = () => this.#woken;
    if (this.#paused === undefined) await condition(woken, ms, { summary: 'until the next cycle' });
    else await condition(woken);
    this.#woken = false;
  }

  #handle(): void {
    setHandler(
      scale,
      (changed) =>
        this.#change(async () => {
          const settings = guarded(groupSettingsInput, changed);
          const summary = `set how ${this.group} is kept`;
          const warnings = await setGroupSettings.executeWithOptions({ summary }, [this.group, settings]);
          const { loweredAt: _, ...rest } = this.#state;
          this.#state = { ...rest, keepingAttempts: 0 };
          return warnings;
        }),
      { validator: (changed) => void guarded(groupSettingsInput, changed) },
    );
    setHandler(
      pause,
      (reason) =>
        this.#change(async () => {
          this.#paused = reason;
          upsertSearchAttributes([{ key: stewardPhase, value: 'PAUSED' }]);
        }),
      { validator: (reason) => void guarded(reasonInput, reason) },
    );
    setHandler(resume, () =>
      this.#change(async () => {
        this.#paused = undefined;
        upsertSearchAttributes([{ key: stewardPhase, value: 'KEEPING' }]);
      }),
    );
    setHandler(
      restartNow,
      (asked) =>
        this.#change(async () => {
          const summary = `restart ${asked.resourceId} now: is it an orphan?`;
          const launch = await launchOfOrphan.executeWithOptions({ summary }, [this.group, asked]);
          if (launch === undefined) return;
          this.#state = afterRestartNow(this.#state, asked.resourceId, launch, Date.now());
        }),
      { validator: (asked) => void guarded(restartNowInput, asked) },
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
          const summary = `forget ${resourceId}`;
          await forgetResource.executeWithOptions({ summary }, [this.group, resourceId, actor]);
          const { [resourceId]: _, ...orphans } = this.#state.orphans;
          this.#state = { ...this.#state, orphans };
        }),
      { validator: (asked) => void guarded(forgetInput, asked) },
    );
    setHandler(keeperState, () => this.view);
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
