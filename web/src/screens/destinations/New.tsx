import { useNavigate } from 'react-router';
import { at } from '~/app/places';
import { done } from '~/parts/notices';
import { PageHead } from '~/parts/PageHead';
import { NewDestination } from '~/screens/create/NewDestination';

/** A destination made by itself, before any pipeline loads into it. */
export function Component() {
  const navigate = useNavigate();
  return (
    <div className="content" style={{ maxWidth: 1080 }}>
      <PageHead
        title="New destination"
        told="A warehouse, a database or a folder that pipelines load into. It is tested before it is taken."
      />
      <NewDestination
        made={(name) => {
          done(`${name} works.`);
          navigate(at.destination(name));
        }}
        close={{ verb: 'Leave', act: () => navigate(at.destinations) }}
      />
    </div>
  );
}
