import type { ClientInterceptors } from '@temporalio/client';
import { isTraced } from '../tracing/tracing.js';

/** Of a client of Temporal: when this process is traced, a span for each start, signal, Update and question, told to the workflow. */
export async function clientInterceptors(): Promise<ClientInterceptors> {
  if (!isTraced()) return {};
  const { OpenTelemetryWorkflowClientInterceptor } = await import('@temporalio/interceptors-opentelemetry');
  return { workflow: [new OpenTelemetryWorkflowClientInterceptor()] };
}
