import { WrongTransport } from './model/transport.js';

/** A flag that makes no sense; the message says what would. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** The options of this process. `--help` prints the usage and ends it with 0, wrong flags or settings end it with 2. */
export function readCommandLine<Options>(
  readOptions: (args: readonly string[]) => Options | 'help',
  usage: string,
): Options {
  try {
    const options = readOptions(process.argv.slice(2));
    if (options !== 'help') return options;
    process.stdout.write(`${usage}\n`);
    process.exit(0);
  } catch (error) {
    if (!(error instanceof UsageError || error instanceof WrongTransport)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(2);
  }
}

/** The whole number of a flag. @throws UsageError */
export function count(flag: string, value: string, least: number, most: number): number {
  const number = /^\d+$/.test(value) ? Number(value) : Number.NaN;
  if (number >= least && number <= most) return number;
  throw new UsageError(`${flag} must be a whole number from ${least} to ${most}`);
}

/** The base URL of a flag. @throws UsageError */
export function httpUrl(flag: string, value: string): string {
  if (URL.canParse(value) && /^https?:$/.test(new URL(value).protocol)) return value;
  throw new UsageError(`${flag} must be an http or https URL`);
}
