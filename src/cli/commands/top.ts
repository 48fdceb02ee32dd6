import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type { StewardClient } from '../../client/index.js';
import { untraced } from '../../tracing/tracing.js';
import { withClient } from '../connection.js';
import type { TopDocument } from '../documents.js';
import { type ConnectionOptions, connects, example } from '../options.js';
import { overviewText, screenful } from '../overview.js';
import { print } from '../terminal.js';

const REFRESH_MS = 1_000;

/** `steward top` */
export function addTopCommand(program: Command): void {
  example(
    connects(program.command('top').description('one live screen of everything; q or Ctrl-C ends it'))
      .option('--once', 'print it once, as is done without a terminal')
      .action((options: ConnectionOptions & { readonly once?: boolean }) =>
        withClient(options, async (client) => {
          if (process.stdout.isTTY && process.stdin.isTTY && !options.once && !options.json) {
            await untraced(() => live(client));
            return;
          }
          const overview = await client.overview();
          print<TopDocument>(options, { overview }, () => overviewText(overview));
        }),
      ),
    'steward top',
    'steward top --once',
  );
}

const ENTER = '\u001b[?1049h\u001b[?25l';
const LEAVE = '\u001b[?25h\u001b[?1049l';
const HOME = '\u001b[H';
const TO_END_OF_LINE = '\u001b[K';
const TO_END_OF_SCREEN = '\u001b[J';
const CTRL_C = '\u0003';

/** Draws over and over on the terminal's other screen, which is left as it was. */
async function live(client: StewardClient): Promise<void> {
  const { stdin, stdout } = process;
  const ended = new AbortController();
  const end = () => ended.abort();
  const onKey = (keys: Buffer) => {
    if (/^q/i.test(keys.toString()) || keys.includes(CTRL_C)) end();
  };
  process.once('SIGINT', end);
  process.once('SIGTERM', end);
  stdin.setRawMode(true);
  stdin.resume();
  stdin.on('data', onKey);
  stdout.write(ENTER);
  try {
    while (!ended.signal.aborted) {
      const overview = await Promise.race([client.overview(), aborted(ended.signal)]);
      if (overview === undefined) break;
      const lines = screenful(overviewText(overview), stdout.rows);
      stdout.write(`${HOME}${lines.map((line) => `${line}${TO_END_OF_LINE}`).join('\n')}${TO_END_OF_SCREEN}`);
      await sleep(REFRESH_MS, undefined, { signal: ended.signal }).catch(() => {});
    }
  } finally {
    stdout.write(LEAVE);
    stdin.off('data', onKey);
    stdin.setRawMode(false);
    stdin.pause();
    process.removeListener('SIGINT', end);
    process.removeListener('SIGTERM', end);
  }
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
}
