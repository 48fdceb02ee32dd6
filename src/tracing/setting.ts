/** Where spans go, by the standard variables of OpenTelemetry. */
export type TracingSetting =
  | { readonly kind: 'OFF' }
  /** It is asked for, and cannot be done as asked. */
  | { readonly kind: 'WRONG'; readonly problem: string }
  | { readonly kind: 'ON' };

const ENDPOINTS = ['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', 'OTEL_EXPORTER_OTLP_ENDPOINT'] as const;
const PROTOCOLS = ['OTEL_EXPORTER_OTLP_TRACES_PROTOCOL', 'OTEL_EXPORTER_OTLP_PROTOCOL'] as const;
const PROTOCOL = 'http/protobuf';

/** Off unless an endpoint is named. Every other variable has the meaning and the default that OpenTelemetry gives it. */
export function readTracing(env: Readonly<Record<string, string | undefined>>): TracingSetting {
  const value = (name: string): string => env[name]?.trim() ?? '';
  const named = ENDPOINTS.find((name) => value(name) !== '');
  if (named === undefined || value('OTEL_SDK_DISABLED').toLowerCase() === 'true') return { kind: 'OFF' };
  const exporter = value('OTEL_TRACES_EXPORTER');
  if (exporter === 'none') return { kind: 'OFF' };
  if (exporter !== '' && exporter !== 'otlp') return wrong('OTEL_TRACES_EXPORTER', exporter, 'otlp or none');
  const protocolBy = PROTOCOLS.find((name) => value(name) !== '');
  if (protocolBy !== undefined && value(protocolBy) !== PROTOCOL) {
    return wrong(protocolBy, value(protocolBy), PROTOCOL);
  }
  if (!URL.canParse(value(named)) || !/^https?:$/.test(new URL(value(named)).protocol)) {
    // Not shown: a URL may hold a password.
    return { kind: 'WRONG', problem: `${named} must be an http or https URL` };
  }
  return { kind: 'ON' };
}

function wrong(name: string, value: string, expected: string): TracingSetting {
  return { kind: 'WRONG', problem: `${name} must be ${expected}, not ${value}` };
}
