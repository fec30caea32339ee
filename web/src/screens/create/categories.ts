import {
  IconBroadcast,
  IconCloudDataConnection,
  IconDatabase,
  IconFiles,
  IconPlug,
} from '@tabler/icons-react';

export type Category = 'databases' | 'events' | 'files' | 'apps' | 'other';

export const CATEGORIES: readonly { category: Category; label: string }[] = [
  { category: 'apps', label: 'Apps and services' },
  { category: 'databases', label: 'Databases' },
  { category: 'events', label: 'Streams and events' },
  { category: 'files', label: 'Files and buckets' },
  { category: 'other', label: 'Others' },
];

const KNOWN: Record<Exclude<Category, 'other'>, RegExp> = {
  databases:
    /postgres|mysql|maria|mongo|oracle|mssql|sql_?server|dynamo|duckdb|snowflake|bigquery|redshift|elastic/,
  events: /webhook|kafka|rest_?events|sqs|kinesis|pubsub|rabbit|redis|nats|sdk/,
  files: /file|folder|s3|gcs|azure|ftp|drive|sheet/,
  apps: /clevertap|salesforce|hubspot|stripe|shopify|google|facebook|zendesk|intercom|rest|http|mixpanel|appsflyer/,
};

/** The kind of system that a connector is for, by the name of its type. One that is new here is among the others. */
export function categoryOf(type: string): Category {
  return (
    CATEGORIES.find(({ category }) => category !== 'other' && KNOWN[category].test(type))?.category ?? 'other'
  );
}

const ICONS = {
  databases: IconDatabase,
  events: IconBroadcast,
  files: IconFiles,
  apps: IconCloudDataConnection,
  other: IconPlug,
};

export const iconOf = (type: string) => ICONS[categoryOf(type)];
