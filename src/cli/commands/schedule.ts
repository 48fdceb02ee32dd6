import type { Command } from 'commander';
import type { Schedule, ScheduleRun, StewardClient } from '../../client/index.js';
import { withClient } from '../connection.js';
import type {
  ScheduleDocument,
  SchedulePlanDocument,
  ScheduleRunsDocument,
  SchedulesDocument,
  SchedulesEnsuredDocument,
} from '../documents.js';
import { formatDuration } from '../duration.js';
import { type ChangeOptions, type ConnectionOptions, changes, connects, example } from '../options.js';
import { listing } from '../render.js';
import { didText } from '../run-text.js';
import type { Cell } from '../table.js';
import { colors, print } from '../terminal.js';

/** `steward schedule` */
export function addScheduleCommands(program: Command): void {
  const schedule = program
    .command('schedule')
    .description('what Steward starts by itself at an interval; "temporal schedule" shows the same');

  example(
    changes(schedule.command('ensure').description('make the schedules that are missing')).action(
      (options: ChangeOptions) => withClient(options, (client) => ensure(client, options)),
    ),
    'steward schedule ensure',
  );

  example(
    connects(schedule.command('list').description('every schedule, when it ran last and runs next')).action(
      (options: ConnectionOptions) =>
        withClient(options, async (client) => {
          const schedules = await client.schedules.list();
          print<SchedulesDocument>(options, { schedules }, () => scheduleTable(schedules));
        }),
    ),
    'steward schedule list',
  );

  example(
    connects(schedule.command('show').description('one schedule, its last runs and what each of them did'))
      .argument('<id>', 'as "schedule list" shows it')
      .action((id: string, options: ConnectionOptions) =>
        withClient(options, async (client) => {
          const [found, runs] = await Promise.all([client.schedules.get(id), client.schedules.runs(id)]);
          print<ScheduleRunsDocument>(options, { schedule: found, runs }, () =>
            [scheduleTable([found]), '', runTable(found.workflowType, runs)].join('\n'),
          );
        }),
      ),
    'steward schedule show steward/heal-stuck-commits',
  );

  example(
    changes(schedule.command('pause').description('start it no more until it is resumed'))
      .argument('<id>', 'as "schedule list" shows it')
      .option('--reason <text>', 'for whoever finds it paused')
      .action((id: string, options: ChangeOptions & { readonly reason?: string }) =>
        change(id, options, 'pause', (client) => client.schedules.pause(id, options.reason)),
      ),
    'steward schedule pause steward/heal-stuck-commits --reason "upgrade tonight"',
  );

  example(
    changes(schedule.command('resume').description('start it at its interval again'))
      .argument('<id>')
      .action((id: string, options: ChangeOptions) =>
        change(id, options, 'resume', (client) => client.schedules.resume(id)),
      ),
    'steward schedule resume steward/heal-stuck-commits',
  );

  example(
    changes(schedule.command('trigger').description('start it now, unless its last start still runs'))
      .argument('<id>')
      .action((id: string, options: ChangeOptions) =>
        change(id, options, 'trigger', (client) => client.schedules.trigger(id)),
      ),
    'steward schedule trigger steward/plan-optimizing',
  );
}

async function ensure(client: StewardClient, options: ChangeOptions): Promise<void> {
  if (options.dryRun) {
    const schedules = (await client.schedules.list()).filter(({ state }) => state === 'MISSING');
    print<SchedulePlanDocument>(options, { dryRun: true, plan: { action: 'ensure', schedules } }, () =>
      schedules.length === 0
        ? 'every schedule is there'
        : `would make:\n${schedules.map(({ scheduleId }) => `  ${scheduleId}`).join('\n')}`,
    );
    return;
  }
  const { created, schedules } = await client.schedules.ensure();
  print<SchedulesEnsuredDocument>(options, { created, schedules }, () =>
    [...created.map((id) => `made ${id}`), scheduleTable(schedules)].join('\n'),
  );
}

const DONE = { pause: 'paused', resume: 'resumed', trigger: 'triggered' } as const;

function change(
  id: string,
  options: ChangeOptions,
  action: keyof typeof DONE,
  apply: (client: StewardClient) => Promise<Schedule>,
): Promise<void> {
  return withClient(options, async (client) => {
    if (options.dryRun) {
      const found = await client.schedules.get(id);
      print<SchedulePlanDocument>(options, { dryRun: true, plan: { action, schedules: [found] } }, () =>
        [`would ${action}:`, scheduleTable([found])].join('\n'),
      );
      return;
    }
    const schedule = await apply(client);
    print<ScheduleDocument>(options, { schedule }, () =>
      [`${DONE[action]} ${id}`, scheduleTable([schedule])].join('\n'),
    );
  });
}

function scheduleTable(schedules: readonly Schedule[]): string {
  return listing(
    [
      { title: 'SCHEDULE' },
      { title: 'EVERY', align: 'right' },
      { title: 'STATE' },
      { title: 'LAST' },
      { title: 'NEXT' },
      { title: 'NOTE' },
    ],
    schedules.map((schedule) => [
      schedule.scheduleId,
      formatDuration(schedule.everyMs),
      stateCell(schedule),
      schedule.lastStartedAt === undefined
        ? ''
        : `${formatDuration(Date.now() - Date.parse(schedule.lastStartedAt))} ago`,
      schedule.nextStartAt === undefined
        ? ''
        : `in ${formatDuration(Math.max(0, Date.parse(schedule.nextStartAt) - Date.now()))}`,
      schedule.note ?? '',
    ]),
    'no schedules',
  );
}

function runTable(workflowType: string, runs: readonly ScheduleRun[]): string {
  return listing(
    [{ title: 'STARTED' }, { title: 'TOOK', align: 'right' }, { title: 'DID' }],
    runs.map(({ status, startedAt, closedAt, result }) => [
      `${formatDuration(Date.now() - Date.parse(startedAt))} ago`,
      closedAt === undefined ? '' : formatDuration(Date.parse(closedAt) - Date.parse(startedAt)),
      status === 'COMPLETED' ? didText(workflowType, result) : status,
    ]),
    'it has not run yet',
  );
}

function stateCell({ state }: Schedule): Cell {
  const paint = { ACTIVE: colors.green, PAUSED: colors.yellow, MISSING: colors.red } as const;
  return { text: state, paint: paint[state] };
}
