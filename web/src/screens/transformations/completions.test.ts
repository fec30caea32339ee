import { CompletionContext } from '@codemirror/autocomplete';
import { pythonLanguage } from '@codemirror/lang-python';
import { EditorState } from '@codemirror/state';
import { describe, expect, it } from 'vitest';
import { completing } from './completions';

/** What is offered at the bar. */
function offered(script: string): string[] {
  const at = script.indexOf('|');
  const state = EditorState.create({
    doc: script.slice(0, at) + script.slice(at + 1),
    extensions: [pythonLanguage],
  });
  const found = completing(['amount', 'order id'])(new CompletionContext(state, at, false));
  return found?.options.map(({ label }) => label) ?? [];
}

const SCRIPT = 'import json\n\ndef transform(event):\n    p = event.getProperties()\n    ';

describe('a script is completed', () => {
  it('by what an event can be asked, under whatever name', () => {
    expect(offered(`${SCRIPT}event.|`)).toContain('getPrimaryKeys');
    expect(offered(`${SCRIPT}other = Event("x", {})\n    other.re|`)).toContain('rename');
  });
  it('by what properties can be asked, which are a dict', () => {
    for (const text of ['p.|', 'event.getProperties().|']) {
      expect(offered(SCRIPT + text)).toContain('setdefault');
      expect(offered(SCRIPT + text)).not.toContain('rename');
    }
  });
  it('by what Utils and TimeUtils have, and not behind the name of a module', () => {
    expect(offered(`${SCRIPT}Utils.fl|`)).toContain('flattenJson');
    expect(offered(`${SCRIPT}TimeUtils.|`)).toContain('convertEpochToDate');
    expect(offered(`${SCRIPT}json.|`)).toEqual([]);
  });
  it('within quotes by the fields of the samples, and behind them not', () => {
    expect(offered(`${SCRIPT}p["am|"]`)).toEqual(['amount', 'order id']);
    expect(offered(`${SCRIPT}p["order i|`)).toEqual(['amount', 'order id']);
    expect(offered(`${SCRIPT}x = "a" if p|`)).not.toContain('amount');
  });
  it('by words, and in comments by nothing', () => {
    expect(offered(`${SCRIPT}Ti|`)).toContain('TimeUtils');
    expect(offered(`${SCRIPT}# ev|`)).toEqual([]);
  });
});
