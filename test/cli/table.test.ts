import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fields, table } from '../../src/cli/table.js';

const COLUMNS = [{ title: 'ID', align: 'right' as const }, { title: 'NAME' }, { title: 'WHAT' }];

test('columns are as wide as their widest cell, numbers to the right', () => {
  expect(
    table(
      COLUMNS,
      [
        [1, 'sales', 'x'],
        [12, 'b', 'why'],
      ],
      80,
    ),
  ).toBe(['ID  NAME   WHAT', ' 1  sales  x', '12  b      why'].join('\n'));
});

test('a cell that does not fit goes on below, broken at spaces and behind slashes', () => {
  const text = table(COLUMNS, [[1, 'database/sales/create/monday', 'three words here']], 36);
  expect(text.split('\n')).toEqual([
    'ID  NAME             WHAT',
    ' 1  database/sales/  three words',
    '    create/monday    here',
  ]);
});

test('titles stay whole as long as cells can give way', () => {
  const text = table([{ title: 'CONTAINER' }, { title: 'EVERY' }], [['local', 'every 20s']], 17);
  expect(text.split('\n')).toEqual(['CONTAINER  EVERY', 'local      every', '           20s']);
});

test('a word without spaces and slashes breaks behind a dash', () => {
  const text = table([{ title: 'ID' }], [['default-01a1ff64-1-1']], 18);
  expect(text.split('\n')).toEqual(['ID', 'default-01a1ff64-', '1-1']);
});

test('what comes from elsewhere cannot steer the terminal', () => {
  expect(table([{ title: 'A' }], [['\u001b[2Jred\r\nline']], 80)).toBe('A\n [2Jred line');
  expect(fields([['actor', 'a\u0007b']], 80)).toBe('actor  a b');
});

test('whatever is in it, a table of few columns fits its width, and loses no character', () => {
  const cell = fc.string({ maxLength: 120, unit: fc.constantFrom('a', 'b', '/', ' ', 'ü', '1') });
  fc.assert(
    fc.property(
      fc.array(fc.tuple(cell, cell, cell), { maxLength: 8 }),
      fc.integer({ min: 30, max: 120 }),
      (rows, width) => {
        const text = table(COLUMNS, rows, width);
        for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(width);
        const letters = (all: string) => Array.from(all.replaceAll(/\s/g, '')).sort().join('');
        expect(letters(text)).toBe(letters(`IDNAMEWHAT${rows.flat().join('')}`));
      },
    ),
  );
});
