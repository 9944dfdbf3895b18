import os, json, modal
def flags(cfg, more=()):
    cmd = ['--a', str(cfg['n'])]
    if cfg.get('eager'):
        cmd.append('--eager')
    elif cfg['n'] > 1:
        cmd += ['--many']
    else:
        return []
    for name, value in {'x': 1}.items():
        cmd.extend([f'--{name}', str(value)])
    cmd.insert(0, 'serve')
    return cmd + list(more)
one = flags({'n': 2}, more=['--z'])
two = {k: str(v) for k, v in {'a': 1, **{'b': 2 ** 10 // 3}}.items()}
three = '{}/{n}'.format('a', n='%s-%d' % ('a', 3))[-1].lower()
four = [n * 2 for n in range(3) if n != 1] if 3 > 2 and not False else json.dumps({'a': True})
five = dict(os.environ, A='1')['A'] + os.environ.get('X', 'here') + (lambda: 1)()
app = modal.App("x-" + three)
