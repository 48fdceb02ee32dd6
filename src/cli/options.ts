import { type Command, InvalidArgumentError, Option } from 'commander';
import { describeDuration, parseDuration } from '../model/duration.js';
import { MAX_ID } from '../rules/bounds.js';

/** Options that several commands have, under one name and with one meaning. */

export interface OutputOptions {
  readonly json?: boolean;
}

export interface ConnectionOptions extends OutputOptions {
  readonly coordinator?: string;
  readonly temporalAddress?: string;
  readonly actor?: string;
}

export interface ChangeOptions extends ConnectionOptions {
  readonly dryRun?: boolean;
}

export interface WaitingOptions extends ChangeOptions {
  readonly wait: boolean;
  /** Milliseconds. */
  readonly timeout?: number;
}

/** Examples stand below the help of every command. */
export function example(command: Command, ...lines: readonly string[]): Command {
  const title = lines.length === 1 ? 'Example' : 'Examples';
  return command.addHelpText('after', `\n${title}:\n${lines.map((line) => `  $ ${line}`).join('\n')}`);
}

export function outputs(command: Command): Command {
  return command.option('--json', 'print one JSON document on stdout');
}

/** Asks a running Steward. */
export function connects(command: Command): Command {
  return outputs(command)
    .addOption(
      new Option('--coordinator <url>', 'the coordinator; default: the local stack').env(
        'STEWARD_COORDINATOR_URL',
      ),
    )
    .addOption(
      new Option('--temporal-address <host:port>', 'Temporal; default: the local stack, or the profile').env(
        'TEMPORAL_ADDRESS',
      ),
    );
}

/** Changes something. */
export function changes(command: Command): Command {
  return plans(connects(command)).addOption(
    new Option('--actor <name>', 'who acts; default: user@host').env('STEWARD_ACTOR'),
  );
}

export function plans(command: Command): Command {
  return command.option('--dry-run', 'print the plan, change nothing');
}

/** Starts an operation. */
export function waits(command: Command): Command {
  return changes(command)
    .option('--no-wait', 'return when the operation is started')
    .addOption(
      new Option('--timeout <duration>', 'wait no longer than this, such as 30s; the operation goes on')
        .argParser(duration)
        .conflicts('wait'),
    );
}

export function duration(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined) throw new InvalidArgumentError(`Expected ${describeDuration()}.`);
  return ms;
}

/** Parses a whole number of these bounds. */
export function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= least && value <= most) return value;
    throw new InvalidArgumentError(`Expected a whole number from ${least} to ${most}.`);
  };
}

/** Parses a region group id. */
export const regionGroupId: (text: string) => number = wholeNumber(1, MAX_ID);

/** Parses region group ids, one after the other; each counts once. */
export function regionGroupIds(text: string, before: readonly number[] = []): readonly number[] {
  return [...new Set([...before, regionGroupId(text)])];
}
