import type { Connection } from '@temporalio/client';
import { messageOf } from '../../message-of.js';
import { compareSearchAttributes } from '../../temporal/search-attributes.js';
import type { Schedules } from '../schedules.js';
import type { Temporal } from '../temporal.js';
import { enumerated, type Finding, ok, warn, wrong } from './finding.js';

/** Temporal as Steward needs it: its namespace, search attributes and schedules. */

/** The namespace; nothing else can be looked at when it is not there. */
export async function examineNamespace(temporal: Temporal): Promise<Finding> {
  const { namespace } = temporal.client.options;
  try {
    await temporal.client.workflowService.describeNamespace({ namespace });
    return ok('temporal', `${temporal.name} answers, and has namespace ${namespace}`);
  } catch (error) {
    if ((error as { code?: unknown }).code === NOT_FOUND) {
      return wrong(
        'temporal',
        `${temporal.name} has no namespace ${namespace}`,
        `temporal operator namespace create --namespace ${namespace}; or name another one with TEMPORAL_NAMESPACE`,
      );
    }
    return wrong('temporal', `${temporal.name}: ${messageOf(error)}`, 'see its log, and ask again');
  }
}

const NOT_FOUND = 5;

export async function examineSearchAttributes(temporal: Temporal): Promise<Finding> {
  const check = 'search attributes';
  const { namespace } = temporal.client.options;
  try {
    const { operatorService } = temporal.client.connection as Connection;
    const { customAttributes } = await operatorService.listSearchAttributes({ namespace });
    const { missing, wrong: other } = compareSearchAttributes(customAttributes);
    if (other.length > 0) {
      return wrong(
        check,
        `${enumerated(other)} must be of type Keyword in namespace ${namespace}`,
        `temporal operator search-attribute remove --namespace ${namespace} ${named(other)}; then restart a worker, which makes them`,
      );
    }
    if (missing.length > 0) {
      return wrong(
        check,
        `${enumerated(missing)} ${missing.length === 1 ? 'is' : 'are'} missing in namespace ${namespace}: nothing can be started`,
        `temporal operator search-attribute create --namespace ${namespace} ${named(missing)} --type Keyword; or restart a worker`,
      );
    }
    return ok(check, `all are there, with their types`);
  } catch (error) {
    return warn(check, `cannot be listed: ${messageOf(error)}`, 'ask with an account that may list them');
  }
}

function named(names: readonly string[]): string {
  return names.map((name) => `--name ${name}`).join(' ');
}

export async function examineSchedules(schedules: Schedules): Promise<Finding[]> {
  const check = 'schedules';
  const all = await schedules.list();
  const missing = all.filter(({ state }) => state === 'MISSING').map(({ scheduleId }) => scheduleId);
  const findings = all
    .filter(({ state }) => state === 'PAUSED')
    .map(({ scheduleId, note }) =>
      warn(
        check,
        `${scheduleId} is paused${note === undefined ? '' : `: ${note}`}`,
        `steward schedule resume ${scheduleId}`,
      ),
    );
  if (missing.length > 0) {
    const are = missing.length === 1 ? 'is' : 'are';
    findings.push(wrong(check, `${enumerated(missing)} ${are} missing`, 'steward schedule ensure'));
  }
  return findings.length > 0 ? findings : [ok(check, `all ${all.length} are there and run`)];
}

/** Whoever asks the task queue for work, by Temporal: identity and build. */
export async function pollersOf(temporal: Temporal): Promise<{ identity: string; build: string }[]> {
  const { namespace } = temporal.client.options;
  const found = new Map<string, string>();
  for (const taskQueueType of TASK_QUEUE_TYPES) {
    const { pollers } = await temporal.client.workflowService.describeTaskQueue({
      namespace,
      taskQueue: { name: temporal.taskQueue },
      taskQueueType,
    });
    for (const { identity, deploymentOptions, workerVersionCapabilities } of pollers ?? []) {
      const build = deploymentOptions?.buildId || workerVersionCapabilities?.buildId || '';
      if (identity) found.set(identity, build);
    }
  }
  return [...found].map(([identity, build]) => ({ identity, build }));
}

/** Of workflow tasks and of activities. */
const TASK_QUEUE_TYPES = [1, 2];
