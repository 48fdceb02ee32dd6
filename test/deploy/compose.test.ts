import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { projectRoot } from '../../src/project.js';
import { checkComposeFile, isSteward, readComposeFile } from './compose-file.js';

const text = readFileSync(join(projectRoot, 'docker-compose.yml'), 'utf8');
const file = readComposeFile();
const services = Object.entries(file.services);

test('the compose file has what it needs: two coordinators and workers, three nodes, PostgreSQL, Temporal, metrics', () => {
  expect(Object.keys(file.services).sort()).toEqual([
    'codec-server',
    'coordinator-1',
    'coordinator-2',
    'grafana',
    'node-1',
    'node-2',
    'node-3',
    'postgres',
    'prometheus',
    'setup',
    'temporal',
    'temporal-namespace',
    'temporal-schema',
    'temporal-ui',
    'worker-1',
    'worker-2',
  ]);
});

test('a key that the compose specification does not know is refused', () => {
  expect(() => checkComposeFile(text.replaceAll('mem_limit:', 'memory_limit:'))).toThrow(/memory_limit/);
  expect(() => checkComposeFile(`${text}\nservice: {}\n`)).toThrow(/properties: service$/m);
  expect(() => checkComposeFile(text.replaceAll('retries: 3', 'retries: [3]'))).toThrow(
    /healthcheck.retries/,
  );
});

test.each(services)(
  '%s: pinned image, no root, restarts, limits, no more rights than it needs',
  (_, service) => {
    expect(service.image).toMatch(/^[a-z0-9./-]+:v?\d+\.\d+[\w.-]*$/);
    expect(service.user).toMatch(/^[1-9]\d*:\d+$/);
    expect(service.cap_drop).toEqual(['ALL']);
    expect(service.security_opt).toContain('no-new-privileges:true');
    expect(service.restart).toMatch(/^(unless-stopped|on-failure:\d+)$/);
    expect(service.cpus).toBeGreaterThan(0);
    expect(service.pids_limit).toBeGreaterThan(0);
  },
);

test('no container writes its root file system', () => {
  const writable = services.filter(([, service]) => !service.read_only).map(([name]) => name);
  expect(writable).toEqual([]);
});

test('what runs on has a health check; what runs to its end is waited for by somebody', () => {
  const awaited = new Set(
    services.flatMap(([, { depends_on = {} }]) =>
      Object.entries(depends_on)
        .filter(([, { condition }]) => condition === 'service_completed_successfully')
        .map(([name]) => name),
    ),
  );
  for (const [name, service] of services) {
    const ends = service.restart.startsWith('on-failure');
    expect([name, service.healthcheck !== undefined, awaited.has(name)]).toEqual([name, !ends, ends]);
    for (const [other, { condition }] of Object.entries(service.depends_on ?? {})) {
      expect(file.services[other], `${name} depends on ${other}`).toBeDefined();
      if (condition === 'service_healthy') expect(file.services[other]!.healthcheck).toBeDefined();
    }
  }
});

test('nothing is published beyond 127.0.0.1, no port twice, and only from a network that can', () => {
  const published = services.flatMap(([name, { ports = [], networks }]) => {
    if (ports.length > 0) expect(Object.keys(networks), name).toContain('published');
    return ports;
  });
  for (const port of published) expect(port).toMatch(/^127\.0\.0\.1:\d+:\d+$/);
  const hostPorts = published.map((port) => port.split(':')[1]);
  expect(new Set(hostPorts).size).toBe(hostPorts.length);
  expect(hostPorts.length).toBeGreaterThan(3);
  const ways = Object.entries(file.networks).filter(([, { internal }]) => internal !== true);
  expect(ways.map(([name]) => name)).toEqual(['published']);
});

test('networks, volumes and secrets that are used are declared, and those declared are used', () => {
  const used = {
    networks: new Set<string>(),
    volumes: new Set<string>(),
    secrets: new Set<string>(),
  };
  for (const [, service] of services) {
    for (const network of Object.keys(service.networks)) used.networks.add(network);
    for (const secret of service.secrets ?? []) used.secrets.add(secret);
    for (const volume of service.volumes ?? []) {
      const [source] = volume.split(':');
      if (!source!.startsWith('./')) used.volumes.add(source!);
    }
  }
  for (const kind of ['networks', 'volumes', 'secrets'] as const) {
    expect([...used[kind]].sort()).toEqual(Object.keys(file[kind]).sort());
  }
});

test('secrets come by file, below a directory that git and the image leave out; no variable holds one', () => {
  for (const { file: path } of Object.values(file.secrets))
    expect(path).toMatch(/^\.\/deploy\/secrets\/[\w.-]+$/);
  expect(readFileSync(join(projectRoot, '.gitignore'), 'utf8').split('\n')).toContain('deploy/secrets/');
  for (const [name, { environment = {}, secrets = [] }] of services) {
    for (const [variable, value] of Object.entries(environment)) {
      expect(value, `${variable} of ${name}`).not.toMatch(/:\/\/[^/]*:[^/]*@/);
      if (/PASSWORD|PWD|SECRET|TOKEN|KEY/.test(variable) && value.startsWith('/')) {
        expect(secrets, `${variable} of ${name}`).toContain(value.replace('/run/secrets/', ''));
      } else expect(variable).not.toMatch(/PASSWORD$|PWD$|SECRET|TOKEN/);
    }
  }
});

test('every file of ours that is mounted is there', () => {
  const mounted = services.flatMap(([, { volumes = [] }]) =>
    volumes.filter((volume) => volume.startsWith('./')).map((volume) => volume.split(':')),
  );
  expect(mounted.length).toBeGreaterThan(3);
  for (const [source, , mode] of mounted) {
    expect(existsSync(join(projectRoot, source!)), source).toBe(true);
    expect(mode).toBe('ro');
  }
});

test('what a container is given to stop is more than our processes take', () => {
  for (const [name, service] of services.filter(([, one]) => isSteward(one) && one.healthcheck)) {
    expect(service.stop_grace_period, name).toBe(name.startsWith('worker') ? '20s' : '15s');
    expect(service.init, name).toBe(true);
  }
});

test('the image has no development dependencies, no root, and nothing that is not listed', () => {
  const dockerfile = readFileSync(join(projectRoot, 'deploy/Dockerfile'), 'utf8');
  const stages = dockerfile.split(/^FROM /m).slice(1);
  expect(stages).toHaveLength(2);
  for (const stage of stages) expect(stage).toMatch(/^node:\d+\.\d+\.\d+-/);
  const [build, last] = stages as [string, string];
  expect(build).toMatch(/npm ci/);
  expect(build).toMatch(/npm run build && npm prune --omit=dev/);
  expect(last).toMatch(/^USER 1000:1000$/m);
  expect(last).not.toMatch(/npm (ci|install)/);
  const ignored = readFileSync(join(projectRoot, '.dockerignore'), 'utf8').split('\n');
  expect(ignored).toContain('*');
  for (const [, source] of dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)) {
    for (const path of source!.split(' ')) {
      expect(existsSync(join(projectRoot, path)), path).toBe(true);
      expect(ignored, path).toContain(`!${path}`);
    }
  }
});
