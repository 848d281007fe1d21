"""What end-to-end tests share: processes that are started and surely ended, and kubectl by version."""
