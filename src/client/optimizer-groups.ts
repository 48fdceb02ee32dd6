import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { KeeperView } from '../../workflows/optimizers/keeper.js';
import { CONTAINER_NAME, OPTIMIZER_GROUP_NAME } from '../rules/bounds.js';
import { text } from '../rules/input.js';
import {
  forgetInput,
  groupSettingsInput,
  keepOptimizerGroupInput,
  reasonInput,
  restartNowInput,
  settingsWarnings,
} from '../rules/keeper-input.js';
import { DEFAULT_GROUP_SETTINGS, type GroupSettings } from '../rules/keeping.js';
import { nextTurnMs, type OrphanMemory, orphanTurn } from '../rules/orphans.js';
import type { Coordinator } from './coordinator.js';
import { StewardError } from './errors.js';
import { groupFrom } from './optimizer-group-messages.js';
import type {
  OptedOutResource,
  OptimizerGroup,
  OptimizerGroupDescription,
  OrphanResource,
} from './optimizer-group-model.js';
import type { Temporal } from './temporal.js';
import { isLostUpdate, UPDATE_ATTEMPTS, UPDATE_RETRY_MS } from './updates.js';
import { valid } from './validation.js';

/** A keeper that does not answer must not hold up what the catalog says. */
const KEEPER_WAIT_MS = 3_000;

export interface OptimizerGroupCreation {
  readonly name: string;
  /** `local` by default. */
  readonly container?: string | undefined;
  /** Handed to every optimizer of the group. */
  readonly properties?: Readonly<Record<string, string>> | undefined;
  /** What is absent has its default. */
  readonly settings?: Partial<GroupSettings> | undefined;
  /** Time from the end of one cycle of the keeper to the next one; 30 s by default. */
  readonly intervalMs?: number | undefined;
}

/** What `create` would make. */
export interface OptimizerGroupPlan {
  readonly name: string;
  readonly container: string;
  readonly settings: GroupSettings;
  readonly warnings: readonly string[];
}

/** `client.optimizerGroups`: groups of optimizers, each with a keeper (a workflow) that keeps them alive. */
export class OptimizerGroups {
  constructor(
    private readonly coordinator: Coordinator,
    private readonly temporal: () => Promise<Temporal>,
    private readonly actor: string,
  ) {}

  /** What `create` would make; asks nobody. @throws StewardError INVALID_INPUT */
  plan(creation: OptimizerGroupCreation): OptimizerGroupPlan {
    const name = groupName(creation.name);
    const container = valid(() =>
      text({ container: creation.container ?? 'local' }, 'container', CONTAINER_NAME),
    );
    const settings = { ...DEFAULT_GROUP_SETTINGS, ...someSettings(creation.settings) };
    return { name, container, settings, warnings: settingsWarnings(settings) };
  }

  /**
   * Makes a group and starts its keeper, which requests optimizers as `minParallelism` says. When the keeper cannot be
   * started just then, the schedule `steward/ensure-keepers` does it.
   *
   * @throws StewardError INVALID_INPUT, ALREADY_EXISTS, UNAVAILABLE
   */
  async create(creation: OptimizerGroupCreation): Promise<{ readonly warnings: readonly string[] }> {
    const { name, container, warnings } = this.plan(creation);
    const { intervalMs, properties = {} } = creation;
    const input = valid(() =>
      keepOptimizerGroupInput({
        group: name,
        actor: this.actor,
        ...(intervalMs !== undefined && { intervalMs }),
      }),
    );
    const { gracePeriodMs, heartbeatTimeoutMs, ...rest } = someSettings(creation.settings);
    const settings = {
      ...rest,
      ...(gracePeriodMs !== undefined && { gracePeriodMs: BigInt(gracePeriodMs) }),
      ...(heartbeatTimeoutMs !== undefined && { heartbeatTimeoutMs: BigInt(heartbeatTimeoutMs) }),
    };
    const temporal = await this.temporal();
    await this.coordinator.askOptimizerGroups((groups) =>
      groups.createGroup({ name, container, properties: { ...properties }, actor: this.actor, settings }),
    );
    await temporal.start({
      workflowType: 'keepOptimizerGroup',
      workflowId: keeperOf(name),
      input,
      summary: `keep optimizer group ${name}`,
      details: `Keeps the optimizers of group ${name} alive. Created by ${this.actor}.`,
      resource: keeperOf(name),
      attachIf: {},
    });
    return { warnings };
  }

  /** All groups, in the order of names, as the catalog has them. */
  async list(): Promise<OptimizerGroup[]> {
    const { groups } = await this.coordinator.askOptimizerGroups((service) => service.listGroups({}));
    return groups.map(groupFrom);
  }

  /**
   * A group with its live optimizers, its orphans and what becomes of them, and its keeper.
   *
   * @throws StewardError INVALID_INPUT, NOT_FOUND, UNAVAILABLE
   */
  async get(name: string): Promise<OptimizerGroupDescription> {
    const request = { name: groupName(name) };
    const [{ group: message }, asked] = await Promise.all([
      this.coordinator.askOptimizerGroups((service) => service.getGroup(request)),
      this.#askKeeper(request.name),
    ]);
    const group = groupFrom(message!);
    const { view, keeper } = asked;
    const memories = view?.state.orphans ?? {};
    const lacking = group.resources.filter(
      ({ state, optimizer }) => state !== 'RELEASING' && optimizer?.alive !== true,
    );
    const optedOut: OptedOutResource[] = [];
    const orphans: OrphanResource[] = [];
    for (const { resourceId, container, registeredLaunch } of lacking) {
      const memory = memories[resourceId];
      const because = memory?.toldOptOut;
      if (because !== undefined) optedOut.push({ resourceId, container, because });
      else orphans.push(orphanFrom(resourceId, registeredLaunch > 0, memory, group.settings));
    }
    return {
      ...group,
      keeper,
      ...(view && { keepingAttempts: view.state.keepingAttempts }),
      ...(view?.report && { effectiveMinParallelism: view.report.effectiveMinParallelism }),
      orphans,
      optedOut,
      open: view?.report?.open ?? [],
      warnings: settingsWarnings(group.settings),
    };
  }

  /**
   * Sets settings of a group to absolute values; a minimum that was given up applies again.
   * Answers warnings: what is allowed but probably not meant.
   *
   * @throws StewardError INVALID_INPUT, NOT_FOUND, UNAVAILABLE
   */
  async scale(
    name: string,
    settings: Partial<GroupSettings>,
  ): Promise<{ readonly warnings: readonly string[] }> {
    const changed = valid(() => groupSettingsInput(settings));
    return { warnings: await this.#update<string[]>(name, 'scale', changed) };
  }

  /** No restart, no clean-up, no request until `resume`; silent optimizers keep their rows. Throws as `scale`. */
  async pause(name: string, reason?: string): Promise<void> {
    const why = valid(() => reasonInput(`${reason ?? 'paused'} (${this.actor})`));
    await this.#update(name, 'pause', why);
  }

  /** Throws as `scale`. */
  async resume(name: string): Promise<void> {
    await this.#update(name, 'resume');
  }

  /**
   * Restarts an orphan in the next cycle, which comes at once, whatever its grace and `autoRestart` say; its attempts are
   * counted anew. Asking again after somebody restarted it changes nothing.
   *
   * @throws StewardError INVALID_INPUT; NOT_FOUND; REJECTED when its optimizer lives (OPTIMIZER_ALIVE), its container opts
   * out (CONTAINER_OPTS_OUT) or it is being released (RESOURCE_RELEASING); UNAVAILABLE
   */
  async restartNow(name: string, resourceId: string): Promise<void> {
    const asked = valid(() => restartNowInput({ resourceId }));
    const group = await this.#catalogGroup(name);
    const found = group.resources.find((resource) => resource.resourceId === asked.resourceId);
    await this.#update(name, 'restartNow', { ...asked, ...(found && { launch: found.launch }) });
  }

  /** Forgets attempts and counts: every orphan has a new grace, and the configured minimum applies. Throws as `scale`. */
  async reset(name: string): Promise<void> {
    await this.#update(name, 'reset');
  }

  /**
   * Takes a resource out of the catalog without asking its container; an optimizer of it that comes back is refused and ends.
   * One that is gone already stays gone.
   *
   * @throws StewardError INVALID_INPUT; NOT_FOUND; REJECTED when its optimizer lives (OPTIMIZER_ALIVE); UNAVAILABLE
   */
  async forgetResource(name: string, resourceId: string): Promise<void> {
    const asked = valid(() => forgetInput({ resourceId, actor: this.actor }));
    await this.#update(name, 'forgetResource', asked);
  }

  async #catalogGroup(name: string): Promise<OptimizerGroup> {
    const request = { name: groupName(name) };
    const { group } = await this.coordinator.askOptimizerGroups((service) => service.getGroup(request));
    return groupFrom(group!);
  }

  async #askKeeper(
    name: string,
  ): Promise<{ readonly view?: KeeperView; readonly keeper: OptimizerGroupDescription['keeper'] }> {
    const limit = new AbortController();
    const late = sleep(KEEPER_WAIT_MS, undefined, { signal: limit.signal, ref: false }).then(
      () => undefined,
      () => undefined,
    );
    try {
      const temporal = await this.temporal();
      const running = await temporal.describeOpen(keeperOf(name));
      if (running === undefined) return { keeper: { state: 'MISSING' } };
      const asked = temporal.ask((client) =>
        client.withAbortSignal(limit.signal, () =>
          client.workflow.getHandle(keeperOf(name)).query<KeeperView>('state'),
        ),
      );
      asked.catch(() => undefined);
      const view = await Promise.race([asked, late]);
      if (view === undefined) return { keeper: { state: 'SILENT', reason: 'no worker answers for it' } };
      const { paused } = view;
      return {
        view,
        keeper: paused === undefined ? { state: 'KEEPING' } : { state: 'PAUSED', reason: paused },
      };
    } catch (error) {
      return { keeper: { state: 'SILENT', reason: StewardError.from(error).message } };
    } finally {
      limit.abort();
    }
  }

  /** Every Update of a keeper sets absolute values, so one whose fate is unknown is sent again. */
  async #update<T = void>(name: string, update: string, argument?: unknown): Promise<T> {
    const workflowId = keeperOf(groupName(name));
    const temporal = await this.temporal();
    const updateId = randomUUID();
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await temporal.ask((client) => {
          const handle = client.workflow.getHandle(workflowId);
          if (argument === undefined) return handle.executeUpdate<T, []>(update, { updateId });
          return handle.executeUpdate<T, [unknown]>(update, { updateId, args: [argument] });
        });
      } catch (error) {
        const closed = isWorkflowNotFound(error);
        if (closed && (await temporal.describeOpen(workflowId)) === undefined)
          throw await this.#noKeeper(name);
        if (attempt === UPDATE_ATTEMPTS || !(closed || isLostUpdate(error))) throw error;
        await sleep(UPDATE_RETRY_MS);
      }
    }
  }

  async #noKeeper(name: string): Promise<StewardError> {
    // Throws NOT_FOUND when there is no such group.
    await this.#catalogGroup(name);
    return new StewardError(
      'UNAVAILABLE',
      `optimizer group ${name} has no keeper now: the schedule steward/ensure-keepers starts one within a minute; ask again`,
    );
  }
}

/** The id of a group's keeper. */
export function keeperOf(group: string): string {
  return `optimizer-group/${group}`;
}

function isWorkflowNotFound(error: unknown): boolean {
  return (
    error instanceof StewardError && (error.cause as Error | undefined)?.name === 'WorkflowNotFoundError'
  );
}

function someSettings(settings: Partial<GroupSettings> = {}): Partial<GroupSettings> {
  const given = Object.entries(settings).filter(([, value]) => value !== undefined);
  return given.length === 0 ? {} : valid(() => groupSettingsInput(Object.fromEntries(given)));
}

function groupName(name: unknown): string {
  return valid(() => text({ name }, 'name', OPTIMIZER_GROUP_NAME));
}

function orphanFrom(
  resourceId: string,
  everRegistered: boolean,
  memory: OrphanMemory | undefined,
  settings: GroupSettings,
): OrphanResource {
  const attempts = memory?.attempts ?? 0;
  const next = orphanTurn(memory ?? { attempts }, everRegistered, settings);
  return {
    resourceId,
    attempts,
    next,
    ...(memory && { firstSeenAt: iso(memory.firstSeenMs) }),
    ...(memory && next !== 'NOTHING' && { nextTurnAt: iso(nextTurnMs(memory, settings)) }),
  };
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
