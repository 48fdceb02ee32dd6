import { loadClientConnectConfig } from '@temporalio/envconfig';

/** How to reach Temporal, by the standard configuration: `TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`, a profile, TLS, API key. */
export function temporalConfig() {
  const { connectionOptions, namespace } = loadClientConnectConfig();
  return { connectionOptions, namespace: namespace ?? 'default' };
}
