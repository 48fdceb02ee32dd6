import type { Heals } from '../heals.js';
import type { OptimizerGroupDescription } from '../optimizer-group-model.js';
import type { OptimizerGroups } from '../optimizer-groups.js';
import { enumerated, type Finding, ok, warn, wrong } from './finding.js';

/** Heals and keepers. */

export async function examineBreaker(heals: Heals): Promise<Finding> {
  const { state, reason } = await heals.breaker();
  if (state !== 'OPEN') return ok('heals', 'the breaker is closed');
  return wrong(
    'heals',
    `the breaker is open, and nothing is healed: ${reason ?? ''}`,
    'look at what is stuck (steward heal status), mend the common cause, then: steward heal ack',
  );
}

/** Every group has to have its keeper running, and answering. */
export async function examineKeepers(names: readonly string[], groups: OptimizerGroups): Promise<Finding[]> {
  const found = await Promise.all(
    names.map(async (name) => ({ name, keeper: (await groups.get(name)).keeper })),
  );
  const missing = found.filter(({ keeper }) => keeper.state === 'MISSING').map(({ name }) => name);
  const findings = [
    ...found.flatMap(({ name, keeper }) => idleKeeper(name, keeper)),
    ...(missing.length === 0 ? [] : [noKeeper(missing)]),
  ];
  if (findings.length > 0) return findings;
  return [ok(CHECK, names.length === 0 ? 'no optimizer groups' : `${names.length} of ${names.length} run`)];
}

const CHECK = 'keepers';

function idleKeeper(name: string, { state, reason }: OptimizerGroupDescription['keeper']): Finding[] {
  const whose = `that of optimizer group ${name}`;
  if (state === 'PAUSED') {
    return [warn(CHECK, `${whose} is paused: ${reason}`, `steward optimizer-group resume ${name}`)];
  }
  if (state !== 'SILENT') return [];
  const fix = 'see that a worker runs; optimizers go on working, and are not restarted meanwhile';
  return [warn(CHECK, `${whose} does not answer: ${reason}`, fix)];
}

function noKeeper(groups: readonly string[]): Finding {
  const [groupWord, has] = groups.length === 1 ? ['group', 'has'] : ['groups', 'have'];
  return wrong(
    CHECK,
    `optimizer ${groupWord} ${enumerated(groups)} ${has} no keeper: dead optimizers stay dead`,
    'steward schedule trigger steward/ensure-keepers',
  );
}
