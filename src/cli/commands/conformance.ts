import { readFile, writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import type { Check } from '../../conformance/check.js';
import type { CheckReport, ConformanceReport } from '../../conformance/report.js';
import type { Credentials } from '../../rpc/credentials.js';
import { counted } from '../../rules/counted.js';
import type { ChecksDocument } from '../documents.js';
import { formatDuration } from '../duration.js';
import { UsageError } from '../failure.js';
import { example, type OutputOptions, outputs } from '../options.js';
import { details, section } from '../render.js';
import { clean, colors, print } from '../terminal.js';

interface ConformanceCommandOptions extends OutputOptions {
  readonly target?: string;
  readonly only?: readonly string[];
  readonly restartCommand?: string;
  readonly knownFailing?: string;
  readonly junit?: string;
  readonly list?: boolean;
  readonly tlsCa?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tokenFile?: string;
}

/** `steward conformance` */
export function addConformanceCommand(program: Command): void {
  example(
    outputs(
      program
        .command('conformance')
        .description('check a node, of any make, against the worker contract; docs/conformance.md says more')
        .option('--target <url>', 'base URL of the node')
        .option('--only <name...>', 'only these checks, or groups of checks')
        .option(
          '--restart-command <command>',
          'a shell command that kills the node with SIGKILL, starts it again and returns',
        )
        .option('--known-failing <file>', 'checks that are expected to fail, one name on each line')
        .option('--junit <file>', 'write the result as JUnit XML as well')
        .optionsGroup('Safe transport; the defaults are STEWARD_TLS_CA and so on:')
        .option('--tls-ca <file>', 'the CA that the certificate of the node must be of')
        .option('--tls-cert <file>', 'our certificate, for a node that asks for one')
        .option('--tls-key <file>', 'and its key')
        .option('--token-file <file>', 'a bearer token')
        .optionsGroup('Options:')
        .option('--list', 'show the checks and the rules that they keep, and run none'),
    ).action((options: ConformanceCommandOptions) => (options.list ? list(options) : run(options))),
    'steward conformance --target http://127.0.0.1:7101',
    'steward conformance --target http://127.0.0.1:7101 --only epochs duplicates/in-flight',
    "steward conformance --target http://127.0.0.1:7101 --restart-command './restart-node.sh'",
    'steward conformance --list',
  );
}

async function run(options: ConformanceCommandOptions): Promise<void> {
  const { target, restartCommand: command, junit } = options;
  if (target === undefined) throw new UsageError('say which node is to be checked: --target <url>');
  if (!URL.canParse(target) || !/^https?:$/.test(new URL(target).protocol)) {
    throw new UsageError(`--target must be an http or https URL, such as http://127.0.0.1:7101`);
  }
  const checks = await checksAsked(options);
  const knownFailing = await knownToFail(options);
  // Before the checks run: they take a while, and their result must not be lost.
  if (junit !== undefined) await writeResult(junit, '');
  const { checkConformance } = await import('../../conformance/run.js');
  const { restartCommand } = await import('../../conformance/restarts.js');
  const credentials = await credentialsOf(options);
  let report: ConformanceReport;
  try {
    report = await checkConformance({
      target: { url: target, credentials },
      checks,
      knownFailing,
      ...(command !== undefined && { restart: restartCommand(command) }),
    });
  } catch (error) {
    throw await asStewardError(error);
  } finally {
    credentials.close();
  }
  if (junit !== undefined) {
    const { junitOf } = await import('../../conformance/junit.js');
    await writeResult(junit, `${junitOf(report)}\n`);
  }
  print(options, report, () => reportText(report));
  if (!report.conforms) process.exitCode = 1;
}

async function list(options: ConformanceCommandOptions): Promise<void> {
  const checks = await checksAsked(options);
  const document = {
    checks: checks.map(({ name, group, rule, needs }) => ({ name, group, rule, needs: [...needs] })),
  };
  print<ChecksDocument>(options, document, () =>
    groupsOf(document.checks)
      .map(([group, members]) =>
        section(group, details(members.map((one) => [`  ${shortName(one)}`, ruleText(one)] as const))),
      )
      .join('\n')
      .trimStart(),
  );
}

async function credentialsOf(options: ConformanceCommandOptions): Promise<Credentials> {
  const { readTransport, WrongTransport } = await import('../../model/transport.js');
  const { Credentials: OurCredentials } = await import('../../rpc/credentials.js');
  const { tlsCa, tlsCert, tlsKey, tokenFile } = options;
  try {
    const flags = { 'tls-ca': tlsCa, 'tls-cert': tlsCert, 'tls-key': tlsKey, 'token-file': tokenFile };
    return new OurCredentials(readTransport(process.env, flags));
  } catch (error) {
    if (error instanceof WrongTransport) throw new UsageError(error.message);
    throw error;
  }
}

async function checksAsked({ only }: ConformanceCommandOptions): Promise<readonly Check[]> {
  const { CHECKS, checksNamed } = await import('../../conformance/registry.js');
  if (only === undefined) return CHECKS;
  return orUsageError('--only', () => checksNamed(only));
}

async function knownToFail({ knownFailing }: ConformanceCommandOptions): Promise<readonly Check[]> {
  if (knownFailing === undefined) return [];
  const text = await readFile(knownFailing, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new UsageError(`${knownFailing} cannot be read: ${error.code ?? error.message}`);
  });
  const { readKnownFailing } = await import('../../conformance/known-failing.js');
  return orUsageError(knownFailing, () => readKnownFailing(text));
}

async function orUsageError<T>(where: string, read: () => T): Promise<T> {
  const { UnknownCheck } = await import('../../conformance/registry.js');
  try {
    return read();
  } catch (error) {
    if (error instanceof UnknownCheck) throw new UsageError(`${where}: ${error.message}`);
    throw error;
  }
}

async function writeResult(file: string, text: string): Promise<void> {
  await writeFile(file, text).catch((error: NodeJS.ErrnoException) => {
    throw new UsageError(`${file} cannot be written: ${error.code ?? error.message}`);
  });
}

async function asStewardError(error: unknown): Promise<unknown> {
  const { TargetError } = await import('../../conformance/target.js');
  if (!(error instanceof TargetError)) return error;
  const { StewardError } = await import('../../client/errors.js');
  const { reason, message } = error;
  switch (reason) {
    case 'UNREACHABLE':
      return new StewardError('UNAVAILABLE', message, { cause: error });
    case 'UNTRUSTED':
      return new StewardError('REJECTED', message, { cause: error, details: 'UNAUTHENTICATED' });
    case 'NO_NODE':
      return new StewardError('INVALID_INPUT', message, { cause: error });
  }
}

/** What became of each check, group by group, and the failures in full. */
export function reportText(report: ConformanceReport): string {
  const { node, summary, unexpectedlyPassed, durationMs } = report;
  const groups = groupsOf(report.checks).map(([group, checks]) =>
    [`\n${colors.bold(group)}`, ...checks.flatMap(checkLines)].join('\n'),
  );
  const counts = [
    `${summary.passed} passed`,
    ...(summary.failed === 0 ? [] : [colors.red(`${summary.failed} failed`)]),
    ...(summary.knownFailing === 0 ? [] : [`${summary.knownFailing} of them known to`]),
    ...(summary.skipped === 0 ? [] : [colors.yellow(`${summary.skipped} skipped`)]),
  ];
  return [
    clean(`node ${node.nodeId} at ${report.target}: ${node.capabilities.join(', ') || 'no capabilities'}`),
    ...groups,
    '',
    ...unexpectedlyPassed.map((name) => colors.red(`${name} passes: take it off the known-failing list`)),
    `${counted(report.checks.length, 'check')}: ${counts.join(', ')} (${formatDuration(durationMs)})`,
  ].join('\n');
}

function checkLines(check: CheckReport): string[] {
  const name = shortName(check);
  switch (check.outcome) {
    case 'PASSED':
      return [`  ${colors.green('ok  ')}  ${name}`, ...leftLines(check)];
    case 'SKIPPED':
      return [`  ${colors.yellow('skip')}  ${name}: ${clean(check.skippedBecause ?? '')}`];
    case 'FAILED':
      return [
        `  ${check.knownFailing ? colors.yellow('fail') : colors.red('FAIL')}  ${name}${check.knownFailing ? ' (known to fail)' : ''}`,
        `          rule      ${check.rule}`,
        `          expected  ${clean(check.failure?.expected ?? '')}`,
        `          found     ${clean(check.failure?.found ?? '')}`,
        `          sent      ${clean(check.failure?.sent ?? 'nothing')}`,
        `          received  ${clean(check.failure?.received ?? 'nothing')}`,
        ...leftLines(check),
      ];
  }
}

function leftLines({ leftBehind }: CheckReport): string[] {
  return leftBehind === undefined ? [] : [`          left on the node: ${clean(leftBehind.join(', '))}`];
}

function groupsOf<T extends { readonly group: string }>(checks: readonly T[]): [string, T[]][] {
  const groups = new Map<string, T[]>();
  for (const check of checks) groups.set(check.group, [...(groups.get(check.group) ?? []), check]);
  return [...groups];
}

function shortName({ name, group }: { readonly name: string; readonly group: string }): string {
  return name.slice(group.length + 1);
}

function ruleText({ rule, needs }: Pick<Check, 'rule' | 'needs'>): string {
  return `${rule} [${needs.join(', ') || 'any node'}]`;
}
