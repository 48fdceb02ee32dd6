import { expect, test } from 'vitest';
import { readTracing } from '../../src/tracing/setting.js';

const ENDPOINT = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318' };

test.each([
  {},
  { OTEL_SERVICE_NAME: 'steward' },
  { OTEL_EXPORTER_OTLP_ENDPOINT: '' },
  { ...ENDPOINT, OTEL_SDK_DISABLED: 'TRUE' },
  { ...ENDPOINT, OTEL_TRACES_EXPORTER: 'none' },
])('off: %o', (env) => {
  expect(readTracing(env)).toEqual({ kind: 'OFF' });
});

test.each([
  ENDPOINT,
  { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'https://collector/v1/traces' },
  { ...ENDPOINT, OTEL_TRACES_EXPORTER: 'otlp', OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf' },
])('on: %o', (env) => {
  expect(readTracing(env)).toEqual({ kind: 'ON' });
});

test.each([
  [
    { ...ENDPOINT, OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' },
    'OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf, not grpc',
  ],
  [{ ...ENDPOINT, OTEL_TRACES_EXPORTER: 'zipkin' }, 'OTEL_TRACES_EXPORTER must be otlp or none, not zipkin'],
  [
    { OTEL_EXPORTER_OTLP_ENDPOINT: 'me:secret@there' },
    'OTEL_EXPORTER_OTLP_ENDPOINT must be an http or https URL',
  ],
])('wrong: %o', (env, problem) => {
  expect(readTracing(env)).toEqual({ kind: 'WRONG', problem });
});
