/* Says whether its contexts are ours; linked in several orders by link_order.sh. */
#include "harness.h"

#include <sesscache.h>

int main(void)
{
    SSL_CTX *server = new_server(&protocols[0]), *client = new_client(&protocols[0]);
    SSL_SESSION *session = obtain_session(server, client);

    report("active", sesscache_is_active(server));
    report("overlaid", overlaid());
    CHECK_INT(SSL_CTX_sess_number(server), 1);
    CHECK_INT(resumes(server, client, session), 1);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    return test_end();
}
