import { PageHead } from '~/parts/PageHead';
import { Jobs } from '~/screens/pipeline/jobs';

/** What all pipelines do and did. */
export function Component() {
  return (
    <div className="content">
      <PageHead title="Jobs" told="What all pipelines do and did, the newest first." />
      <Jobs pipeline={null} />
    </div>
  );
}
