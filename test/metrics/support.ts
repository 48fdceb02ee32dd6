/** A page that Prometheus reads, as its families and samples. */
export interface MetricsPage {
  /** Type of each family, by name; Steward's own only. */
  readonly families: ReadonlyMap<string, string>;
  /** Value of a sample, named as it stands on the page: `steward_nodes{state="alive"}`. */
  value(sample: string): number | undefined;
  readonly text: string;
}

export async function readMetrics(url: string): Promise<MetricsPage> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  const text = await response.text();
  const lines = text.split('\n');
  return {
    text,
    families: new Map(
      lines.flatMap((line) => {
        const [, name, type] = /^# TYPE (steward_\w+) (\w+)$/.exec(line) ?? [];
        return name === undefined || type === undefined ? [] : [[name, type] as const];
      }),
    ),
    value(sample) {
      const line = lines.find((one) => one.startsWith(`${sample} `));
      return line === undefined ? undefined : Number(line.slice(sample.length + 1));
    },
  };
}
