import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const at = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));

export const alertsFile = at('deploy/prometheus/alerts.yml');
export const dashboardFile = at('deploy/grafana/dashboards/steward.json');

/** Names in the tables of docs/metrics.md, each with who serves it as which type: `worker counter`. */
export function documentedMetrics(): Map<string, string[]> {
  const text = readFileSync(at('docs/metrics.md'), 'utf8');
  const found = new Map<string, string[]>();
  for (const [, name, type, by] of text.matchAll(/^\| `(steward_\w+)` \| (\w+) \| (\w+) \|/gm)) {
    found.set(name!, [...(found.get(name!) ?? []), `${by} ${type}`]);
  }
  return found;
}

/** Metrics that an expression or a file names; those of a histogram by their family. */
export function metricsIn(text: string): string[] {
  return [...text.matchAll(/\b((?:steward|temporal)_[a-z_]+)\b/g)].map(([, name]) =>
    name!.replace(/_(bucket|count|sum)$/, ''),
  );
}
