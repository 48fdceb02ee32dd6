import type { Command } from 'commander';
import type { Finding } from '../../client/index.js';
import { withClient } from '../connection.js';
import type { DoctorDocument } from '../documents.js';
import { localProcesses } from '../local-processes.js';
import { type ConnectionOptions, connects, example } from '../options.js';
import { listing } from '../render.js';
import { colors, print } from '../terminal.js';

/** `steward doctor` */
export function addDoctorCommand(program: Command): void {
  example(
    connects(
      program
        .command('doctor')
        .description('look at everything that Steward needs: what is wrong, and how to mend it')
        .addHelpText('after', '\nExit code 0 when nothing is wrong, 1 otherwise; warnings do not count.'),
    ).action((options: ConnectionOptions) =>
      withClient(options, async (client) => {
        const findings = await client.doctor.examine(await localProcesses(options));
        const healthy = !findings.some(({ verdict }) => verdict === 'WRONG');
        if (!healthy) process.exitCode = 1;
        print<DoctorDocument>(options, { ok: healthy, findings }, () => findingTable(findings));
      }),
    ),
    'steward doctor',
    'steward doctor --json',
  );
}

const WORDS = { OK: 'ok', WARN: 'warn', WRONG: 'wrong' } as const;
const PAINTS = { OK: colors.green, WARN: colors.yellow, WRONG: colors.red } as const;

/** A line for each finding, and below it what to do. */
function findingTable(findings: readonly Finding[]): string {
  return listing(
    [{ title: '' }, { title: 'CHECK' }, { title: 'FOUND' }],
    findings.flatMap(({ check, verdict, found, fix }) => [
      [{ text: WORDS[verdict], paint: PAINTS[verdict] }, check, found],
      ...(fix === undefined ? [] : [['', '', `fix: ${fix}`]]),
    ]),
    '',
  );
}
