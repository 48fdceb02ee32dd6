import {
  ApplicationFailure,
  allHandlersFinished,
  condition,
  continueAsNew,
  proxyActivities,
  setCurrentDetails,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import type { KeeperActivities } from '../../activities/optimizers/keep-group.js';
import { type KeepOptimizerGroupInput, keepOptimizerGroupInput } from '../../src/rules/keeper-input.js';
import { KEEPER_CYCLE } from '../activity-options.js';
import { guarded } from '../failures.js';
import { nameOfRun } from '../run-name.js';
import { stewardActor, stewardPhase, stewardResource } from '../search-attributes.js';
import { Keeper, type KeeperView } from './keeper.js';

const { keepGroup } = proxyActivities<KeeperActivities>(KEEPER_CYCLE);

/**
 * Keeps the optimizers of a group alive, for as long as the group exists: one cycle per interval, and one at once after an
 * Update. Its state lives in this history, so attempts survive every fail-over.
 */
export async function keepOptimizerGroup(raw: KeepOptimizerGroupInput): Promise<void> {
  const input = guarded(keepOptimizerGroupInput, raw);
  const keeper = new Keeper(input.group, input.carried);
  upsertSearchAttributes([
    { key: stewardResource, value: `optimizer-group/${input.group}` },
    { key: stewardActor, value: input.actor },
    { key: stewardPhase, value: keeper.paused === undefined ? 'KEEPING' : 'PAUSED' },
  ]);
  for (let cycle = 0; cycle < input.cyclesPerRun && !workflowInfo().continueAsNewSuggested; cycle += 1) {
    await keeper.cycle((state) => {
      const summary = `cycle ${state.cycle} of ${input.group}`;
      const call = { group: input.group, keeper: keeperName(), state };
      return keepGroup.executeWithOptions({ summary }, [call]);
    });
    setCurrentDetails(describe(input.group, keeper.view));
    await keeper.interval(input.intervalMs);
  }
  await condition(allHandlersFinished);
  await continueAsNew<typeof keepOptimizerGroup>({ ...input, carried: keeper.carried() });
  throw ApplicationFailure.nonRetryable('continue-as-new returned');
}

/** Part of the ids of what this keeper requests; the same across continue-as-new, another one after a new start. */
function keeperName(): string {
  return nameOfRun(workflowInfo().firstExecutionRunId);
}

function describe(group: string, { state, paused, report }: KeeperView): string {
  const head = `Optimizer group ${group}`;
  const pause = paused === undefined ? [] : ['', `**PAUSED**: ${paused}`];
  if (report === undefined) return [`${head}: no cycle has ended yet`, ...pause].join('\n');
  const { configuredMinParallelism, effectiveMinParallelism, liveThreads, liveOptimizers, open } = report;
  const minimum =
    configuredMinParallelism === effectiveMinParallelism
      ? `${configuredMinParallelism}`
      : `${effectiveMinParallelism} (configured ${configuredMinParallelism}: requests never registered)`;
  const orphans = Object.entries(state.orphans).map(
    ([resourceId, { attempts, toldOptOut }]) =>
      `| ${resourceId} | ${attempts} | ${toldOptOut ? 'left to its container' : ''} |`,
  );
  return [
    `${head}: ${liveOptimizers} optimizers, ${liveThreads} threads, minimum ${minimum}`,
    ...pause,
    ...(open.length === 0 ? [] : ['', ...open.map((reason) => `- ${reason}`)]),
    ...(orphans.length === 0 ? [] : ['', '| orphan | restarts | |', '| --- | --- | --- |', ...orphans]),
  ].join('\n');
}
