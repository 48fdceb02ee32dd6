import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { z } from 'zod';
import { builtProgram, projectRoot } from '../../src/project.js';
import { kubernetesComplaints } from './schemas.js';

const labels = z.record(z.string(), z.string());
const metadata = z.looseObject({
  name: z.string(),
  namespace: z.string().optional(),
  labels: labels.optional(),
});
const selector = z.strictObject({ matchLabels: labels.optional() });
const port = z.looseObject({ name: z.string(), containerPort: z.int() });
const probe = z.union([
  z.looseObject({ exec: z.strictObject({ command: z.array(z.string()) }) }),
  z.looseObject({ tcpSocket: z.strictObject({ port: z.string() }) }),
]);
const container = z.looseObject({
  name: z.string(),
  image: z.string(),
  command: z.array(z.string()),
  ports: z.array(port).default([]),
  env: z.array(z.looseObject({ name: z.string(), value: z.string().optional() })).default([]),
  startupProbe: probe.optional(),
  livenessProbe: probe.optional(),
  readinessProbe: probe.optional(),
  lifecycle: z.looseObject({ preStop: probe }).optional(),
  securityContext: z.strictObject({
    allowPrivilegeEscalation: z.literal(false),
    readOnlyRootFilesystem: z.literal(true),
    capabilities: z.strictObject({ drop: z.tuple([z.literal('ALL')]) }),
  }),
  resources: z.strictObject({
    requests: z.strictObject({ cpu: z.string(), memory: z.string() }),
    limits: z.strictObject({ memory: z.string() }),
  }),
  volumeMounts: z.array(z.looseObject({ name: z.string(), mountPath: z.string() })),
});
const volume = z.looseObject({
  name: z.string(),
  secret: z.looseObject({ secretName: z.string() }).optional(),
  persistentVolumeClaim: z.looseObject({ claimName: z.string() }).optional(),
});
const pod = z.looseObject({
  metadata: z.looseObject({ labels }),
  spec: z.looseObject({
    securityContext: z.looseObject({ runAsNonRoot: z.literal(true), runAsUser: z.literal(1000) }),
    automountServiceAccountToken: z.literal(false),
    terminationGracePeriodSeconds: z.int().optional(),
    containers: z.array(container),
    volumes: z.array(volume),
  }),
});
const workload = {
  metadata,
  apiVersion: z.literal('apps/v1'),
};
const manifest = z.discriminatedUnion('kind', [
  z.strictObject({
    ...workload,
    kind: z.literal('Deployment'),
    spec: z.looseObject({
      replicas: z.int(),
      selector,
      template: pod,
      strategy: z.looseObject({
        rollingUpdate: z.strictObject({ maxUnavailable: z.literal(0), maxSurge: z.int().min(1) }),
      }),
    }),
  }),
  z.strictObject({
    ...workload,
    kind: z.literal('StatefulSet'),
    spec: z.looseObject({
      replicas: z.int(),
      selector,
      template: pod,
      serviceName: z.string(),
      updateStrategy: z.strictObject({ type: z.literal('RollingUpdate') }),
      persistentVolumeClaimRetentionPolicy: z.strictObject({
        whenDeleted: z.literal('Retain'),
        whenScaled: z.literal('Retain'),
      }),
      volumeClaimTemplates: z.array(z.looseObject({ metadata })),
    }),
  }),
  z.strictObject({
    apiVersion: z.literal('batch/v1'),
    kind: z.literal('Job'),
    metadata,
    spec: z.looseObject({ template: pod }),
  }),
  z.strictObject({
    apiVersion: z.literal('v1'),
    kind: z.literal('Service'),
    metadata,
    spec: z.looseObject({
      selector: labels,
      ports: z.array(z.strictObject({ name: z.string(), port: z.int(), targetPort: z.string() })),
    }),
  }),
  z.strictObject({
    apiVersion: z.literal('policy/v1'),
    kind: z.literal('PodDisruptionBudget'),
    metadata,
    spec: z.strictObject({ maxUnavailable: z.literal(1), selector }),
  }),
  z.strictObject({
    apiVersion: z.literal('networking.k8s.io/v1'),
    kind: z.literal('NetworkPolicy'),
    metadata,
    spec: z.strictObject({
      podSelector: selector,
      policyTypes: z.tuple([z.literal('Ingress')]),
      ingress: z
        .array(
          z.strictObject({
            from: z.array(
              z.union([
                z.strictObject({ podSelector: selector }),
                z.strictObject({ namespaceSelector: selector }),
              ]),
            ),
            ports: z.array(z.strictObject({ protocol: z.literal('TCP'), port: z.string() })),
          }),
        )
        .optional(),
    }),
  }),
  z.strictObject({
    apiVersion: z.literal('v1'),
    kind: z.literal('Secret'),
    metadata,
    type: z.string(),
    stringData: labels,
  }),
  z.strictObject({ apiVersion: z.literal('v1'), kind: z.literal('ConfigMap'), metadata, data: labels }),
  z.strictObject({ apiVersion: z.literal('v1'), kind: z.literal('Namespace'), metadata }),
  z.strictObject({
    apiVersion: z.literal('v1'),
    kind: z.literal('PersistentVolumeClaim'),
    metadata,
    spec: z.looseObject({}),
  }),
]);
type Manifest = z.infer<typeof manifest>;

const directory = join(projectRoot, 'deploy/kubernetes');
const documents: readonly unknown[] = readdirSync(directory).flatMap((name) =>
  parseAllDocuments(readFileSync(join(directory, name), 'utf8')).map(
    (document) => document.toJS() as unknown,
  ),
);
const manifests: readonly Manifest[] = documents.map((document) => manifest.parse(document));
const of = <K extends Manifest['kind']>(kind: K) =>
  manifests.filter((one): one is Extract<Manifest, { kind: K }> => one.kind === kind);
const running = [...of('Deployment'), ...of('StatefulSet')];
const pods = [...running, ...of('Job')].map(({ metadata: { name }, spec }) => ({ name, pod: spec.template }));
const containers = pods.flatMap(({ pod: { spec } }) => spec.containers);

test('the manifests are as the Kubernetes API wants them, and what it does not know is refused', () => {
  const complaints = kubernetesComplaints();
  for (const document of documents) expect(complaints(document)).toEqual([]);
  const [deployment] = of('Deployment');
  expect(complaints({ ...deployment, spec: { ...deployment!.spec, replica: 2 } })).toEqual([
    '/spec must NOT have additional properties: replica',
  ]);
  expect(complaints({ ...deployment, spec: { ...deployment!.spec, minReadySeconds: 'soon' } })).toContain(
    '/spec/minReadySeconds must be integer,null',
  );
  expect(complaints({ apiVersion: 'apps/v1', kind: 'Deployments' })).toHaveLength(1);
});

test('there are workers, coordinators, nodes, the codec server and the set-up, all in one namespace, each under one name', () => {
  expect(running.map(({ kind, metadata: { name }, spec }) => [kind, name, spec.replicas])).toEqual([
    ['Deployment', 'steward-codec-server', 1],
    ['Deployment', 'steward-coordinator', 2],
    ['Deployment', 'steward-worker', 2],
    ['StatefulSet', 'node', 3],
  ]);
  const names = manifests.map(({ kind, metadata: { name } }) => `${kind}/${name}`);
  expect(new Set(names).size).toBe(names.length);
  for (const { kind, metadata: about } of manifests) {
    if (kind !== 'Namespace') expect(about.namespace, about.name).toBe(of('Namespace')[0]!.metadata.name);
  }
});

test('selectors find the pods that they are meant for', () => {
  for (const { metadata: about, spec } of running) {
    expect(spec.template.metadata.labels, about.name).toMatchObject(spec.selector.matchLabels!);
    const budgets = of('PodDisruptionBudget').filter((one) =>
      finds(one.spec.selector.matchLabels!, spec.template),
    );
    expect(budgets, about.name).toHaveLength(1);
  }
  for (const { metadata: about, spec } of of('Service')) {
    const found = running.filter((one) => finds(spec.selector, one.spec.template));
    expect(found, about.name).toHaveLength(1);
    const ports = found[0]!.spec.template.spec.containers[0]!.ports;
    for (const { port: number, targetPort } of spec.ports) {
      expect(ports).toContainEqual(expect.objectContaining({ name: targetPort, containerPort: number }));
    }
  }
  for (const { spec } of of('StatefulSet')) {
    expect(of('Service').map(({ metadata: { name } }) => name)).toContain(spec.serviceName);
  }
});

test('every pod is closed to whom no policy names, and policies name ports that are there', () => {
  const policies = of('NetworkPolicy');
  expect(
    policies.filter(({ spec }) => spec.podSelector.matchLabels === undefined && !spec.ingress),
  ).toHaveLength(1);
  for (const { metadata: about, spec } of policies) {
    const { matchLabels } = spec.podSelector;
    if (matchLabels === undefined) continue;
    const found = pods.filter(({ pod: one }) => finds(matchLabels, one));
    expect(found, about.name).toHaveLength(1);
    const ports = found[0]!.pod.spec.containers.flatMap((one) => one.ports.map(({ name }) => name));
    for (const { ports: opened, from } of spec.ingress ?? []) {
      for (const { port: name } of opened) expect(ports, about.name).toContain(name);
      for (const one of from) {
        const label = 'podSelector' in one && one.podSelector.matchLabels?.['app.kubernetes.io/name'];
        if (label)
          expect(
            pods.some(({ pod: of }) => finds({ 'app.kubernetes.io/name': label }, of)),
            label,
          ).toBe(true);
      }
    }
  }
});

test('what runs on is probed: by the health check where that asks others, by its port where a restart would help', () => {
  for (const { metadata: about, spec } of running) {
    const [{ startupProbe, livenessProbe, readinessProbe, ports, name }] = spec.template.spec.containers as [
      z.infer<typeof container>,
    ];
    for (const asked of [startupProbe, readinessProbe]) {
      const { command } = z
        .looseObject({ exec: z.object({ command: z.array(z.string()) }) })
        .parse(asked).exec;
      expect(command.slice(0, 3), about.name).toEqual(['node', 'dist/src/health.js', name]);
      const { port: called } = new URL(command[3]!);
      expect(ports.map(({ containerPort }) => String(containerPort))).toContain(called);
    }
    const socket = z
      .looseObject({ tcpSocket: z.object({ port: z.string() }) })
      .parse(livenessProbe).tcpSocket;
    expect(ports.map((one) => one.name)).toContain(socket.port);
  }
});

test('an update drains: a pod has longer to end than its process takes, and a new one comes first where that can be', () => {
  for (const { metadata: about, spec } of running) {
    const preStop = spec.template.spec.containers[0]!.lifecycle?.preStop;
    const waits =
      preStop && 'exec' in preStop
        ? Number(z.array(z.string()).parse((preStop.exec as { command: string[] }).command)[1])
        : 0;
    expect(spec.template.spec.terminationGracePeriodSeconds! - waits, about.name).toBeGreaterThanOrEqual(20);
  }
});

test('images are pinned and the same everywhere; programs and mounts are there', () => {
  expect(new Set(containers.map(({ image }) => image))).toEqual(new Set(['steward:0.1.0']));
  const secrets = of('Secret').map(({ metadata: { name } }) => name);
  const claims = of('PersistentVolumeClaim').map(({ metadata: { name } }) => name);
  for (const { command } of containers) {
    expect(command[0]).toBe('node');
    if (command[1]!.startsWith('dist/'))
      builtProgram(command[1]!.replace('dist/', '').replace(/\.js$/, '.ts'));
    else expect(command[1]).toBe('bin/steward.js');
  }
  for (const {
    name,
    pod: { spec },
  } of pods) {
    const templates = of('StatefulSet')
      .filter(({ metadata: about }) => about.name === name)
      .flatMap((one) => one.spec.volumeClaimTemplates.map(({ metadata: about }) => about.name));
    const volumes = [...spec.volumes.map((one) => one.name), ...templates].sort();
    expect(spec.containers[0]!.volumeMounts.map((one) => one.name).sort(), name).toEqual(volumes);
    for (const { secret, persistentVolumeClaim } of spec.volumes) {
      if (secret) expect(secrets).toContain(secret.secretName);
      if (persistentVolumeClaim) expect(claims).toContain(persistentVolumeClaim.claimName);
    }
  }
});

test('every file that a setting names is mounted, and secrets are in no variable', () => {
  const settings = of('ConfigMap')[0]!.data;
  for (const { name: container, env, envFrom, volumeMounts } of containers) {
    const given = {
      ...(envFrom === undefined ? {} : settings),
      ...Object.fromEntries(env.map(({ name, value }) => [name, value ?? ''])),
    };
    for (const [name, value] of Object.entries(given)) {
      expect(value, name).not.toMatch(/:\/\/[^/]*:[^/]*@/);
      // Setup works on the catalog, not on tables.
      if (!value.startsWith('/') || (name === 'STEWARD_WAREHOUSE' && container === 'setup')) continue;
      expect(
        volumeMounts.some(({ mountPath }) => value.startsWith(mountPath)),
        `${name}=${value}`,
      ).toBe(true);
    }
  }
  for (const { stringData } of of('Secret')) expect(Object.values(stringData).join('')).toBe('');
});

function finds(wanted: Readonly<Record<string, string>>, found: z.infer<typeof pod>): boolean {
  return Object.entries(wanted).every(([key, value]) => found.metadata.labels[key] === value);
}
