"""Models of streams: trained, challenged, taught by verdicts, and watched for drift."""
