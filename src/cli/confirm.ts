import { createInterface } from 'node:readline/promises';
import type { Command } from 'commander';
import { clean } from './terminal.js';

export interface DestroyingOptions {
  readonly yes?: boolean;
}

/** Takes something away that does not come back by itself: its action asks with {@link confirm}. */
export function destroys(command: Command): Command {
  return command.option('--yes', 'do not ask; without a terminal nobody is asked');
}

/**
 * Asks on a terminal, unless `--yes` is given. Without a terminal nobody can be asked, and nobody is.
 *
 * @param look looks at what will be destroyed, only if somebody is asked, and says what will be done to it: `delete database
 * sales (12 replicas) from every node`. What it throws, such as NOT_FOUND, stands for the question. It answers `undefined`
 * when there is nothing to destroy any more, which the action itself says better.
 * @throws StewardError CANCELED when the answer is not yes; and what `look` throws
 */
export async function confirm(
  { yes }: DestroyingOptions,
  look: () => Promise<string | undefined>,
): Promise<void> {
  if (yes || !process.stdin.isTTY || !process.stderr.isTTY) return;
  const what = await look();
  if (what === undefined || (await confirmed(what))) return;
  const { StewardError } = await import('../client/errors.js');
  throw new StewardError('CANCELED', 'not confirmed: nothing was changed');
}

async function confirmed(what: string): Promise<boolean> {
  const asking = createInterface({ input: process.stdin, output: process.stderr });
  const ended = new Promise<string>((resolve) => asking.once('close', () => resolve('')));
  try {
    const answer = await Promise.race([asking.question(`${clean(what)}? [y/N] `), ended]);
    return /^y(es)?$/i.test(answer.trim());
  } finally {
    asking.close();
  }
}
