import { useState } from 'react';
import { useLocation } from 'react-router';
import { api, body } from '~/api/client';
import { Gate } from '../sign-in/Gate';
import { Choose } from '../welcome/Choose';
import { tokenHere } from '../welcome/token';

/** What an invitation and a link for another password lead to. */
export function Component() {
  const [token] = useState(tokenHere);
  const joining = useLocation().pathname === '/join';
  return joining ? (
    <Gate title="Join the team" told="Choose a password for your account.">
      <Choose
        asksName
        verb="Join"
        next="/"
        choose={(_, password, name) =>
          body(
            api.POST('/api/millrace/v1/invitations/accept', {
              body: { token, password, name: name || null },
            }),
          )
        }
      />
    </Gate>
  ) : (
    <Gate title="Choose another password" told="All your sessions end; a second factor stays.">
      <Choose
        verb="Save password"
        next="/"
        choose={(_, password) =>
          body(api.POST('/api/millrace/v1/password-resets/accept', { body: { token, password } }))
        }
      />
    </Gate>
  );
}
