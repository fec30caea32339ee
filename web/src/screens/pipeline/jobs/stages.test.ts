import { expect, test } from 'vitest';
import type { Schemas } from '~/api/client';
import { stagesOf } from './stages';

const at = (second: number) => `2026-11-30T10:00:${String(second).padStart(2, '0')}Z`;
const NOW = new Date(at(30));

function job(began: number | null, ingested: number | null, ended: number | null, kind = 'INCREMENTAL') {
  const moment = (second: number | null) => (second === null ? null : at(second));
  const run = { kind, ended_at: moment(ended) };
  return {
    requested_at: at(0),
    began_at: moment(began),
    ingested_at: moment(ingested),
    run,
  } as Schemas['Job'];
}

const told = (of: Schemas['Job']) =>
  stagesOf(of, NOW).map(({ name, ms, going }) => `${name} ${ms / 1000}${going ? ' …' : ''}`);

test('the time of a job is told stage by stage, and the one at work goes on', () => {
  expect(told(job(2, 12, 15))).toEqual(['waited 2', 'read 10', 'loaded 3']);
  expect(told(job(2, 12, null))).toEqual(['waited 2', 'read 10', 'loaded 18 …']);
  expect(told(job(2, null, null))).toEqual(['waited 2', 'read 28 …']);
  expect(told(job(null, null, null))).toEqual(['waited 30 …']);
});

test('a job that ended early has the stages that it came to', () => {
  expect(told(job(2, null, 9))).toEqual(['waited 2', 'read 7']);
  expect(told(job(null, null, 9))).toEqual(['waited 9']);
  expect(told(job(2, null, 9, 'LOAD'))).toEqual(['waited 2', 'loaded 7']);
});
