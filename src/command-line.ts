import { type ParseArgsConfig, parseArgs } from 'node:util';
import { type ListenAddress, readListenAddress } from './model/listen-address.js';
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

/** The flags of a command line, which has nothing else. @throws UsageError */
export function readFlags<Flags extends NonNullable<ParseArgsConfig['options']>>(
  options: Flags,
  args: readonly string[],
): ReturnType<typeof parseArgs<{ options: Flags; strict: true; allowPositionals: false }>>['values'] {
  try {
    return parseArgs({ args: [...args], options, strict: true, allowPositionals: false }).values;
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message.split('\n')[0]! : String(error));
  }
}

/** What `--listen` says. @throws UsageError */
export function listenAddress(value: string): ListenAddress {
  const address = readListenAddress(value);
  if (address === undefined) throw new UsageError('--listen must be <host>:<port>, such as 127.0.0.1:0');
  return address;
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
