import { createInterface } from 'node:readline/promises';
import type { Command } from 'commander';

/**
 * Takes something away that does not come back by itself: asks on a terminal, unless `--yes` or `--dry-run` is given.
 * Without a terminal nobody can be asked, and nobody is.
 *
 * @param what what will be done, by the arguments: `delete database sales from every node`
 */
export function destroys(command: Command, what: (...args: readonly string[]) => string): Command {
  return command
    .option('--yes', 'do not ask; without a terminal nobody is asked')
    .hook('preAction', async (acting) => {
      const { yes, dryRun } = acting.opts<{ readonly yes?: boolean; readonly dryRun?: boolean }>();
      if (yes || dryRun || !process.stdin.isTTY || !process.stderr.isTTY) return;
      if (await confirmed(what(...acting.args))) return;
      const { StewardError } = await import('../client/errors.js');
      throw new StewardError('CANCELED', 'not confirmed: nothing was changed');
    });
}

async function confirmed(what: string): Promise<boolean> {
  const asking = createInterface({ input: process.stdin, output: process.stderr });
  const ended = new Promise<string>((resolve) => asking.once('close', () => resolve('')));
  try {
    const answer = await Promise.race([asking.question(`${what}? [y/N] `), ended]);
    return /^y(es)?$/i.test(answer.trim());
  } finally {
    asking.close();
  }
}
