import { ActivityList } from '~/screens/activity/ActivityList';
import { usePipelineName } from '../here';

/** Who changed what of this pipeline. */
export function Component() {
  return <ActivityList pipeline={usePipelineName()} />;
}
