import { type QueryExecutorProvider, sql } from 'kysely';

/** What of a catalog's schema a program relies on. */
export interface CatalogSchema {
  /** Columns by `table.column`. */
  readonly columns: ReadonlyMap<string, SchemaColumn>;
  readonly rules: readonly SchemaRule[];
  readonly tables: readonly string[];
  readonly sequences: readonly string[];
}

export interface SchemaColumn {
  readonly table: string;
  readonly type: string;
  readonly nullable: boolean;
  /** Gets a value when an INSERT gives none. */
  readonly filled: boolean;
}

/** A constraint or a unique index. */
interface SchemaRule {
  readonly table: string;
  readonly definition: string;
  readonly columns: readonly string[];
}

export async function readSchema(db: QueryExecutorProvider): Promise<CatalogSchema> {
  const columns = await sql<{
    table: string;
    column: string;
    type: string;
    nullable: boolean;
    filled: boolean;
  }>`
    SELECT table_name AS "table", column_name AS "column", udt_name AS type, is_nullable = 'YES' AS nullable,
      column_default IS NOT NULL OR is_identity = 'YES' OR is_generated = 'ALWAYS' AS filled
    FROM information_schema.columns
    WHERE table_schema = 'public' AND table_name NOT LIKE 'kysely%'
    ORDER BY table_name, ordinal_position
  `.execute(db);
  // NOT NULL is told by the columns.
  const rules = await sql<SchemaRule>`
    SELECT conrelid::regclass::text AS "table", pg_get_constraintdef(oid) AS definition,
      ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = conrelid AND attnum = ANY (conkey)) AS columns
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n' AND conrelid <> 0
    UNION ALL
    SELECT indrelid::regclass::text,
      regexp_replace(pg_get_indexdef(indexrelid), '^CREATE UNIQUE INDEX \\S+', 'UNIQUE INDEX'),
      ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = indrelid AND attnum = ANY (indkey))
    FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
    WHERE indisunique AND relnamespace = 'public'::regnamespace
      AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u', 'x'))
    ORDER BY 1, 2
  `.execute(db);
  const sequences = await sql<{ name: string }>`
    SELECT sequencename AS name FROM pg_sequences WHERE schemaname = 'public' ORDER BY 1
  `.execute(db);
  return {
    columns: new Map(columns.rows.map(({ column, ...about }) => [`${about.table}.${column}`, about])),
    rules: rules.rows,
    tables: [...new Set(columns.rows.map(({ table }) => table))],
    sequences: sequences.rows.map(({ name }) => name),
  };
}

/**
 * Why a program that was written for the schema before cannot run on the one after, or would write what that one refuses.
 * Expand first: add tables, columns that may be null or have a default, indexes. Contract a version later, when nothing
 * uses the old any more.
 */
export function breaks(before: CatalogSchema, after: CatalogSchema): string[] {
  const kept = (table: string) => after.tables.includes(table);
  const found = before.tables.filter((table) => !kept(table)).map((table) => `table ${table} is gone`);
  found.push(
    ...before.sequences
      .filter((name) => !after.sequences.includes(name))
      .map((name) => `sequence ${name} is gone`),
  );
  for (const [name, was] of before.columns) {
    if (!kept(was.table)) continue;
    const is = after.columns.get(name);
    if (is === undefined) found.push(`column ${name} is gone`);
    else found.push(...changes(was, is).map((what) => `column ${name} ${what}`));
  }
  for (const [name, { table, nullable, filled }] of after.columns) {
    if (before.tables.includes(table) && !before.columns.has(name) && !nullable && !filled)
      found.push(
        `column ${name} is new, NOT NULL and has no default: what the version before inserts is refused`,
      );
  }
  for (const { table, definition, columns } of after.rules) {
    if (!before.tables.includes(table)) continue;
    // What the version before inserts has nothing, or the default, in columns that it does not know.
    if (columns.length > 0 && !columns.some((column) => before.columns.has(`${table}.${column}`))) continue;
    const known = before.rules.filter((rule) => rule.table === table);
    if (!known.some((old) => allows(definition, old.definition)))
      found.push(
        `table ${table} has a new rule, which what the version before writes may break: ${definition}`,
      );
  }
  return found;
}

function changes(was: SchemaColumn, is: SchemaColumn): string[] {
  return [
    ...(was.type === is.type ? [] : [`was ${was.type} and is ${is.type}`]),
    ...(was.nullable && !is.nullable ? ['must not be null any more'] : []),
    ...(!was.nullable && is.nullable ? ['may be null now, which the version before does not expect'] : []),
    ...(was.filled && !is.filled ? ['has no default any more'] : []),
  ];
}

/** Whether whatever satisfies the old rule satisfies the new one: the same, or a list of words that became longer. */
function allows(rule: string, old: string): boolean {
  if (rule === old) return true;
  const [words, before] = [literals(rule), literals(old)];
  return withoutLists(rule) === withoutLists(old) && before.every((word) => words.includes(word));
}

const LIST = /ARRAY\[[^\]]*\]/g;

function withoutLists(rule: string): string {
  return rule.replace(LIST, 'ARRAY[]');
}

function literals(rule: string): string[] {
  return (rule.match(LIST) ?? []).flatMap((list) => list.match(/'[^']*'/g) ?? []);
}
