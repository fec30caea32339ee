/** An editor for Python, SQL and JSON. Import it lazily: it is large. */
import { autocompletion, type CompletionSource } from '@codemirror/autocomplete';
import { json } from '@codemirror/lang-json';
import { pythonLanguage } from '@codemirror/lang-python';
import { sql } from '@codemirror/lang-sql';
import { HighlightStyle, LanguageSupport, syntaxHighlighting } from '@codemirror/language';
import { type Diagnostic, linter, setDiagnostics } from '@codemirror/lint';
import { EditorState, Prec } from '@codemirror/state';
import { EditorView, keymap } from '@codemirror/view';
import { tags } from '@lezer/highlight';
import CodeMirror, { type ReactCodeMirrorRef } from '@uiw/react-codemirror';
import { useEffect, useMemo, useRef } from 'react';

interface Props {
  label: string;
  value: string;
  change?: (text: string) => void;
  language: 'python' | 'sql' | 'json';
  /** Ctrl-Enter. */
  run?: () => void;
  complete?: CompletionSource;
  /** Names of tables, with their columns, for SQL. */
  tables?: Record<string, string[]>;
  /** A line that is wrong, from 1, and why. */
  wrong?: { line: number; message: string } | null;
  height?: string;
}

const NONCE = document.querySelector<HTMLMetaElement>('meta[property="csp-nonce"]')?.nonce ?? '';

const colours = HighlightStyle.define([
  { tag: [tags.keyword, tags.operatorKeyword, tags.modifier], color: 'var(--code-keyword)' },
  { tag: [tags.string, tags.special(tags.string)], color: 'var(--code-string)' },
  { tag: [tags.number, tags.bool, tags.null], color: 'var(--code-number)' },
  { tag: [tags.comment], color: 'var(--muted)', fontStyle: 'italic' },
  { tag: [tags.function(tags.definition(tags.variableName)), tags.propertyName], color: 'var(--code-name)' },
  { tag: [tags.invalid], color: 'var(--failed)' },
]);

const surface = EditorView.theme({
  '&': { backgroundColor: 'var(--surface)', color: 'var(--mantine-color-text)', fontSize: '13px' },
  '&.cm-focused': { outline: 'none' },
  '.cm-content': {
    fontFamily: 'var(--mantine-font-family-monospace)',
    fontVariantLigatures: 'none',
    caretColor: 'var(--accent)',
    padding: '12px 0',
  },
  '.cm-line': { padding: '0 12px' },
  '.cm-cursor': { borderLeftColor: 'var(--accent)' },
  '.cm-gutters': {
    backgroundColor: 'var(--surface)',
    color: 'var(--muted)',
    border: 'none',
    paddingLeft: '4px',
  },
  '.cm-activeLine, .cm-activeLineGutter': {
    backgroundColor: 'color-mix(in srgb, var(--accent) 6%, transparent)',
  },
  '&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground': {
    backgroundColor: 'color-mix(in srgb, var(--accent) 22%, transparent)',
  },
  '.cm-lintRange-error': {
    backgroundImage: 'none',
    textDecoration: 'underline wavy var(--failed)',
    textUnderlineOffset: '4px',
    backgroundColor: 'color-mix(in srgb, var(--failed) 10%, transparent)',
  },
  '.cm-tooltip': {
    backgroundColor: 'var(--surface)',
    border: '1px solid var(--border)',
    borderRadius: '8px',
  },
  '.cm-tooltip-autocomplete > ul': { fontFamily: 'var(--mantine-font-family-monospace)' },
  '.cm-tooltip-autocomplete > ul > li[aria-selected]': {
    backgroundColor: 'color-mix(in srgb, var(--accent) 18%, transparent)',
    color: 'inherit',
  },
  '.cm-completionDetail': { color: 'var(--muted)', fontStyle: 'normal' },
  '.cm-completionInfo': { maxWidth: '320px', fontFamily: 'var(--mantine-font-family)' },
});

function ran(run: (() => void) | undefined): boolean {
  run?.();
  return true;
}

export default function Code({
  label,
  value,
  change,
  language,
  run,
  complete,
  tables,
  wrong,
  height,
}: Props) {
  const editor = useRef<ReactCodeMirrorRef>(null);
  const running = useRef(run);
  running.current = run;
  const extensions = useMemo(
    () => [
      EditorView.cspNonce.of(NONCE),
      EditorView.contentAttributes.of({ 'aria-label': label }),
      EditorView.lineWrapping,
      surface,
      linter(null),
      syntaxHighlighting(colours),
      language === 'python'
        ? new LanguageSupport(pythonLanguage)
        : language === 'sql'
          ? sql({ schema: tables, upperCaseKeywords: true })
          : json(),
      ...(complete ? [autocompletion({ override: [complete] })] : []),
      EditorState.tabSize.of(4),
      Prec.highest(keymap.of([{ key: 'Mod-Enter', run: () => ran(running.current) }])),
    ],
    [label, language, complete, tables],
  );
  useEffect(() => {
    const view = editor.current?.view;
    if (!view) return;
    const found: Diagnostic[] = [];
    if (wrong && wrong.line >= 1 && wrong.line <= view.state.doc.lines) {
      const { from, to } = view.state.doc.line(wrong.line);
      found.push({ from, to, severity: 'error', message: wrong.message });
    }
    view.dispatch(setDiagnostics(view.state, found));
  }, [wrong]);
  return (
    <CodeMirror
      ref={editor}
      value={value}
      onChange={change}
      extensions={extensions}
      theme="none"
      height={height}
      readOnly={!change}
      basicSetup={{ autocompletion: !complete, foldGutter: false, highlightSelectionMatches: true }}
    />
  );
}
