"""The API server: `wire` in front, `access` behind it, then `registry`, then `storage`."""
