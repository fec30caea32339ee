import { Center, Loader, Stepper } from '@mantine/core';
import { IconLock } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useNavigate, useParams, useSearchParams } from 'react-router';
import { useMay } from '~/api/session';
import { at } from '~/app/places';
import { Empty } from '~/parts/Empty';
import { ErrorNote } from '~/parts/ErrorNote';
import { PageHead } from '~/parts/PageHead';
import { Catalogue } from './Catalogue';
import { Connect } from './Connect';
import { Destination } from './Destination';
import { chosenOf, draftQuery, STEPS, type Step } from './draft';
import { Objects } from './Objects';
import { Schedule } from './Schedule';

/** Making a pipeline, step by step. Each step is kept as a draft, with an address of its own. */
export function Component() {
  const number = useParams().draft;
  const [search] = useSearchParams();
  const navigate = useNavigate();
  const draft = useQuery({ ...draftQuery(Number(number)), enabled: number !== undefined });
  const type = search.get('type');
  const step = (search.get('step') ?? (draft.data ? chosenOf(draft.data).step : 'source')) as Step;
  const may = useMay();
  if (!may('pipelines.create')) {
    return (
      <div className="content">
        <Empty icon={IconLock} title="Only to look at">
          Your roles let you look at pipelines, not create them. An administrator of the team can change that.
        </Empty>
      </div>
    );
  }
  const go = (to: Step) => navigate(`${at.draft(Number(number))}?step=${to}`);
  return (
    <div className="content" data-narrow="wizard">
      <PageHead
        title={draft.data?.name ?? 'Create pipeline'}
        told="Each step is kept. Leave when you like and go on later."
      />
      <Stepper
        size="sm"
        mb="xl"
        active={STEPS.findIndex((one) => one.step === step)}
        onStepClick={(index) => number !== undefined && STEPS[index] && go(STEPS[index].step)}
      >
        {STEPS.map(({ step, label }) => (
          <Stepper.Step key={step} label={label} allowStepSelect={number !== undefined} />
        ))}
      </Stepper>
      <ErrorNote error={draft.error} again={() => void draft.refetch()} />
      {number === undefined ? (
        type ? (
          <Connect type={type} draft={null} />
        ) : (
          <Catalogue />
        )
      ) : draft.data ? (
        <Body step={step} draft={draft.data} go={go} />
      ) : (
        !draft.error && (
          <Center p="xl">
            <Loader aria-label="Loading" />
          </Center>
        )
      )}
    </div>
  );
}

function Body({
  step,
  draft,
  go,
}: {
  step: Step;
  draft: Parameters<typeof chosenOf>[0];
  go: (to: Step) => void;
}) {
  switch (step) {
    case 'objects':
      return <Objects draft={draft} go={go} />;
    case 'destination':
      return <Destination draft={draft} go={go} />;
    case 'schedule':
      return <Schedule draft={draft} go={go} />;
    case 'source':
      return <Connect type={draft.source_type} draft={draft} />;
  }
}
