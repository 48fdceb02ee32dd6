/** What a page's reader has before a line, and what the line does then. */
export interface Step {
  /** Lines that make what the documented one is about. */
  readonly before?: readonly string[];
  /** Instead of the documented line: with real ids where it has placeholders. */
  readonly line?: string;
  /** Not run here but on this page, which has the same line. */
  readonly elsewhere?: string;
  /** 0 by default. */
  readonly exit?: number;
  /** What it says, among other things. */
  readonly says?: RegExp;
}

export interface Scenario {
  readonly page: string;
  /** By documented line, in the order of the page; what is not named runs as it stands, and ends with 0. */
  readonly steps?: Readonly<Record<string, Step>>;
  /** Scripts that the page shows, in its order, by the names that it gives them. */
  readonly files?: readonly string[];
  /** What ends what the page leaves. */
  readonly after?: readonly string[];
}
