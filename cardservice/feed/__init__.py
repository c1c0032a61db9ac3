"""The feed of a (tenant, service area): changes, snapshots, the stream to readers."""
