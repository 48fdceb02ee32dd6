import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { onPath } from '../support/on-path.js';
import { alertsFile, dashboardFile, documentedMetrics, metricsIn } from './monitoring-files.js';

const promtool = onPath('promtool');
const run = promisify(execFile);

describe.skipIf(promtool === undefined)(
  `promtool${promtool === undefined ? ' (not on PATH: skipped)' : ''}`,
  () => {
    test('accepts the rules and the scrape configuration', async () => {
      expect((await run(promtool!, ['check', 'rules', alertsFile])).stdout).toMatch(/8 rules found/);
      await run(promtool!, ['check', 'config', '--syntax-only', deployed('prometheus/prometheus.yml')]);
    });

    test('sees each alert fire when it should, and not when it should not', async () => {
      const { stdout } = await run(promtool!, ['test', 'rules', deployed('prometheus/alerts.test.yml')]);
      expect(stdout).toMatch(/SUCCESS/);
    });
  },
);

test('every alert has a test in which it fires and one in which it does not, and its row in docs/metrics.md', () => {
  const names = rules().map(({ alert }) => alert);
  const tried = z
    .object({
      tests: z.array(
        z.object({
          alert_rule_test: z.array(z.object({ alertname: z.string(), exp_alerts: z.array(z.unknown()) })),
        }),
      ),
    })
    .parse(parse(readFileSync(deployed('prometheus/alerts.test.yml'), 'utf8')))
    .tests.flatMap((one) => one.alert_rule_test);
  const named = (fires: boolean) =>
    new Set(
      tried.filter(({ exp_alerts }) => exp_alerts.length > 0 === fires).map(({ alertname }) => alertname),
    );
  expect([...named(true)].sort()).toEqual([...names].sort());
  expect([...named(false)].sort()).toEqual([...names].sort());
  const docs = readFileSync(fileURLToPath(new URL('../../docs/metrics.md', import.meta.url)), 'utf8');
  const rows = [...docs.matchAll(/^\| `(Steward\w+)` \|/gm)].map(([, name]) => name!);
  expect(rows.sort()).toEqual([...names].sort());
});

test('every metric in alerts and dashboard is one that docs/metrics.md lists', () => {
  const known = new Set(documentedMetrics().keys());
  const used = [...rules().map(({ expr }) => expr), ...expressions()].flatMap(metricsIn);
  expect(used.length).toBeGreaterThan(20);
  expect(used.filter((name) => name.startsWith('steward_') && !known.has(name))).toEqual([]);
});

test('the dashboard shows every metric of Steward, in panels that do not overlap', () => {
  const { panels } = dashboard();
  const shown = new Set(expressions().flatMap(metricsIn));
  const unseen = [...documentedMetrics().keys()].filter(
    (name) => !shown.has(name) && name !== 'steward_node_alive',
  );
  expect(unseen).toEqual([]);
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
    Array.from({ length: w * h }, (_, at) => `${x + (at % w)}/${y + Math.floor(at / w)}`),
  );
  expect(new Set(cells).size).toBe(cells.length);
  expect(Math.max(...panels.map(({ gridPos: { x, w } }) => x + w))).toBe(24);
});

test('the dashboard reads from the data source that is provisioned', () => {
  const source = z
    .object({ datasources: z.array(z.object({ uid: z.string(), type: z.literal('prometheus') })) })
    .parse(parse(readFileSync(deployed('grafana/provisioning/datasources/prometheus.yml'), 'utf8')));
  const uids = dashboard().panels.flatMap(({ datasource }) => datasource?.uid ?? []);
  expect(new Set(uids)).toEqual(new Set(source.datasources.map(({ uid }) => uid)));
});

const rulesSchema = z.object({
  groups: z.array(z.object({ rules: z.array(z.object({ alert: z.string(), expr: z.string() })) })),
});

function rules() {
  return rulesSchema.parse(parse(readFileSync(alertsFile, 'utf8'))).groups.flatMap((group) => group.rules);
}

const dashboardSchema = z.object({
  uid: z.string(),
  title: z.string(),
  schemaVersion: z.number(),
  panels: z.array(
    z.object({
      id: z.number(),
      type: z.enum(['row', 'stat', 'timeseries']),
      title: z.string().min(1),
      datasource: z.object({ uid: z.string() }).optional(),
      gridPos: z.object({ x: z.number(), y: z.number(), w: z.number(), h: z.number() }),
      targets: z.array(z.object({ refId: z.string(), expr: z.string().min(1) })).optional(),
    }),
  ),
});

function dashboard() {
  return dashboardSchema.parse(JSON.parse(readFileSync(dashboardFile, 'utf8')));
}

function expressions(): string[] {
  return dashboard().panels.flatMap(({ targets }) => (targets ?? []).map(({ expr }) => expr));
}

function deployed(path: string): string {
  return fileURLToPath(new URL(`../../deploy/${path}`, import.meta.url));
}
