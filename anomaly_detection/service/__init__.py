"""The service: records in by HTTP, judged and kept, alerts out. Needs the extra ``service``."""
