import { getJunitXml } from 'junit-xml';
import type { CheckReport, ConformanceReport } from './report.js';

/** The report as JUnit XML: a suite for each group, a case for each check. A known failure counts as skipped. */
export function junitOf(report: ConformanceReport): string {
  const groups = new Map<string, CheckReport[]>();
  for (const check of report.checks) groups.set(check.group, [...(groups.get(check.group) ?? []), check]);
  return getJunitXml({
    name: `steward conformance of ${report.node.nodeId}`,
    time: report.durationMs / 1_000,
    suites: [...groups].map(([name, checks]) => ({
      name,
      time: checks.reduce((sum, { durationMs }) => sum + durationMs, 0) / 1_000,
      testCases: checks.map(caseOf),
    })),
  });
}

function caseOf(check: CheckReport) {
  const about = {
    name: check.name,
    classname: check.group,
    time: check.durationMs / 1_000,
    systemOut: [clean(check.rule)],
  };
  if (check.outcome === 'SKIPPED') {
    return { ...about, skipped: true, systemOut: [clean(check.rule), clean(check.skippedBecause ?? '')] };
  }
  if (check.outcome === 'PASSED') {
    if (!check.knownFailing) return about;
    return { ...about, failures: [{ message: 'passes, and is listed as known to fail' }] };
  }
  const why = failureText(check);
  if (check.knownFailing) return { ...about, skipped: true, systemOut: ['known to fail', clean(why)] };
  return { ...about, failures: [{ message: clean(why) }] };
}

/** One line for each thing that is known of a failure. */
export function failureText({ rule, failure, leftBehind }: CheckReport): string {
  return [
    `rule      ${rule}`,
    `expected  ${failure?.expected ?? ''}`,
    `found     ${failure?.found ?? ''}`,
    ...(failure?.sent === undefined ? [] : [`sent      ${failure.sent}`]),
    ...(failure?.received === undefined ? [] : [`received  ${failure.received}`]),
    ...(leftBehind === undefined ? [] : [`left      ${leftBehind.join(', ')}`]),
  ].join('\n');
}

/** Without the characters that XML cannot hold, however they are written. */
function clean(text: string): string {
  return text.replaceAll(/[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/gu, '\uFFFD');
}
