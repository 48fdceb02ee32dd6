import { z } from 'zod';

/** What became of one check. */
export const checkReportSchema = z.object({
  /** `<group>/<what is right>` */
  name: z.string(),
  group: z.string(),
  /** What the contract says, in one line. */
  rule: z.string(),
  /** Capabilities of the node, and `restart`: that the kit was told how to restart it. */
  needs: z.array(z.string()),
  outcome: z.enum(['PASSED', 'FAILED', 'SKIPPED']),
  durationMs: z.number(),
  /** Stands in the list of those that are known to fail. */
  knownFailing: z.boolean(),
  /** For SKIPPED: what is missing. */
  skippedBecause: z.string().optional(),
  /** For FAILED. */
  failure: z
    .object({
      expected: z.string(),
      found: z.string(),
      /** The call that shows it: RPC and request as JSON. Cut when it is long. */
      sent: z.string().optional(),
      /** Its response as JSON, or the error. Cut when it is long. */
      received: z.string().optional(),
    })
    .optional(),
  /** Regions of the check that could not be removed from the node, as `<catalog id>/<group id>`. */
  leftBehind: z.array(z.string()).optional(),
});

/** What `steward conformance --json` prints. */
export const conformanceReportSchema = z.object({
  target: z.string(),
  node: z.object({ nodeId: z.string(), ledgerId: z.string(), capabilities: z.array(z.string()) }),
  /** No check failed but those that are known to, and none of these passed. */
  conforms: z.boolean(),
  summary: z.object({
    passed: z.number(),
    failed: z.number(),
    skipped: z.number(),
    /** Of those that failed. */
    knownFailing: z.number(),
  }),
  /** Checks that passed although they are known to fail: take them off the list. */
  unexpectedlyPassed: z.array(z.string()),
  durationMs: z.number(),
  /** In the order of the registry. */
  checks: z.array(checkReportSchema),
});

export type CheckReport = z.infer<typeof checkReportSchema>;
export type ConformanceReport = z.infer<typeof conformanceReportSchema>;

/** Sums up what became of the checks. */
export function summarize(
  about: Pick<ConformanceReport, 'target' | 'node' | 'durationMs'>,
  checks: CheckReport[],
): ConformanceReport {
  const count = (outcome: CheckReport['outcome']): number =>
    checks.filter((check) => check.outcome === outcome).length;
  const known = checks.filter(({ outcome, knownFailing }) => outcome === 'FAILED' && knownFailing).length;
  const unexpectedlyPassed = checks
    .filter(({ outcome, knownFailing }) => outcome === 'PASSED' && knownFailing)
    .map(({ name }) => name);
  const summary = {
    passed: count('PASSED'),
    failed: count('FAILED'),
    skipped: count('SKIPPED'),
    knownFailing: known,
  };
  const conforms = summary.failed === known && unexpectedlyPassed.length === 0;
  return { ...about, conforms, summary, unexpectedlyPassed, checks };
}
