// Takes from the definitions of a Kubernetes API those that the manifests of deploy/kubernetes need, without their
// descriptions: node scripts/kubernetes-schema.mjs <_definitions.json> <kinds.json to write>. test/deploy/schemas/README.md
// says where the definitions come from.
import { readFileSync, writeFileSync } from 'node:fs';

const KINDS = [
  'apps.v1.Deployment',
  'apps.v1.StatefulSet',
  'batch.v1.Job',
  'core.v1.ConfigMap',
  'core.v1.Namespace',
  'core.v1.PersistentVolumeClaim',
  'core.v1.Secret',
  'core.v1.Service',
  'networking.v1.NetworkPolicy',
  'policy.v1.PodDisruptionBudget',
];

const [, , from, to] = process.argv;
const { $schema, $defs } = JSON.parse(readFileSync(from, 'utf8'));
const needed = new Map();
for (const kind of KINDS) need(`io.k8s.api.${kind}`);
const lines = [...needed]
  .sort(([a], [b]) => (a < b ? -1 : 1))
  .map(([name, one]) => `"${name}":${JSON.stringify(one)}`);
writeFileSync(to, `{"$schema":"${$schema}","$id":"kubernetes","$defs":{\n${lines.join(',\n')}\n}}\n`);

function need(name) {
  if (needed.has(name)) return;
  needed.set(name, undefined);
  needed.set(name, withoutWords($defs[name]));
}

function withoutWords(value) {
  if (Array.isArray(value)) return value.map(withoutWords);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).flatMap(([key, inner]) => {
    if (key === 'description' && typeof inner === 'string') return [];
    if (key.startsWith('x-kubernetes-')) return [];
    if (key !== '$ref') return [[key, withoutWords(inner)]];
    const name = inner.split('/').at(-1);
    need(name);
    return [[key, `#/$defs/${name}`]];
  });
  return Object.fromEntries(entries);
}
